// SPDX-License-Identifier: Apache-2.0
#include "crypto/keys.h"

#include "base/clock.h"
#include "base/log.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>

enum { FILE_MAX = 16 << 10 };

static bool load_file(struct lt_key_ring *ring, struct lt_span path, char *error, size_t size) {
    char name[4096], text[FILE_MAX];
    snprintf(name, sizeof name, "%.*s", (int)path.n, path.p);
    FILE *f = fopen(name, "re");
    if (!f) {
        snprintf(error, size, "%s: %s; write \"file:\" and a file that lethe may read", name, strerror(errno));
        return false;
    }
    size_t n = fread(text, 1, sizeof text, f);
    fclose(f);
    bool ok = lt_key_ring_parse(ring, lt_span(text, n), error, size);
    explicit_bzero(text, sizeof text);
    return ok;
}

bool lt_keys_load(struct lt_key_ring *ring, struct lt_span option, char *error, size_t size) {
    struct lt_span mark = LT_S("file:");
    if (lt_span_starts(option, mark))
        return load_file(ring, lt_span(option.p + mark.n, option.n - mark.n), error, size);
    return lt_key_ring_parse(ring, option, error, size);
}

// Made once, so that all workers and every reload share it.
static struct lt_key own_key;
static bool own_key_made;
static pthread_once_t own_once = PTHREAD_ONCE_INIT, open_once = PTHREAD_ONCE_INIT;

static void make_own(void) {
    own_key_made = lt_key_new(&own_key, lt_clock_wall());
    LT_LOG(LT_LOG_WARN, "keys_made",
           lt_fs("why", "no option \"keys\": sessions are sealed with a key that ends with this process, and no other "
                        "replica reads them"),
           lt_fs("do", "give every replica the same LETHE_KEYS, made by \"lethe keygen\""));
}

static void warn_open(void) {
    LT_LOG(LT_LOG_WARN, "keys_missing",
           lt_fs("why", "no option \"keys\": a session record in Redis is sealed by its client's token alone"),
           lt_fs("do", "give every replica the same LETHE_KEYS, made by \"lethe keygen\""));
}

bool lt_keys_default(struct lt_key_ring *ring, bool sealed) {
    if (sealed) {
        pthread_once(&own_once, make_own);
        *ring = (struct lt_key_ring){.n = 1, .keys = {own_key}};
        return own_key_made;
    }
    pthread_once(&open_once, warn_open);
    *ring = (struct lt_key_ring){.n = 1, .keys = {{.id = "none"}}};
    return true;
}
