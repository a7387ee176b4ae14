// SPDX-License-Identifier: Apache-2.0
#include "crypto/keys.h"

#include "base/clock.h"
#include "base/log.h"

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

enum { FILE_MAX = 16 << 10, PATH_SIZE = 4096, NAMES_MAX = 64 };

static const struct lt_span file_mark = {"file:", 5}, dir_mark = {"dir:", 4};

static void path_of(struct lt_span entry, size_t mark, char path[PATH_SIZE]) {
    snprintf(path, PATH_SIZE, "%.*s", (int)(entry.n - mark), entry.p + mark);
}

// --- the files that an entry names ---

typedef bool file_fn(const char *path, void *user);

static int is_shown(const struct dirent *e) {
    return e->d_name[0] != '.';
}

// Byte by byte: the order must not depend on a locale.
static int by_name(const struct dirent **a, const struct dirent **b) {
    return strcmp((*a)->d_name, (*b)->d_name);
}

// False: it cannot be read (errno), or `each` said so.
static bool each_in_dir(const char *dir, file_fn *each, void *user) {
    struct dirent **names = NULL;
    int n = scandir(dir, &names, is_shown, by_name);
    bool ok = n >= 0 && n <= NAMES_MAX;
    for (int i = 0; i < n; i++) {
        char path[PATH_SIZE + NAME_MAX + 2];
        struct stat st;
        snprintf(path, sizeof path, "%s/%s", dir, names[i]->d_name);
        bool is_file = ok && stat(path, &st) == 0 && S_ISREG(st.st_mode);
        ok = ok && (!is_file || each(path, user));
        free(names[i]);
    }
    free(names);
    return ok;
}

// --- loading ---

struct load {
    struct lt_key_ring *ring;
    char *error;
    size_t size;
    bool said; // what is wrong stands in `error`
};

static bool refuse(struct load *l, const char *where, const char *why) {
    snprintf(l->error, l->size, "%s: %s", where, why);
    l->said = true;
    return false;
}

static bool load_file(const char *path, void *user) {
    struct load *l = user;
    char text[FILE_MAX], why[256];
    FILE *f = fopen(path, "re");
    if (!f) {
        snprintf(why, sizeof why, "%s; write \"file:\" and a file that lethe may read", strerror(errno));
        return refuse(l, path, why);
    }
    size_t n = fread(text, 1, sizeof text, f);
    fclose(f);
    bool ok = lt_key_ring_add(l->ring, lt_span(text, n), why, sizeof why);
    explicit_bzero(text, sizeof text);
    return ok || refuse(l, path, why);
}

static bool load_dir(const char *path, struct load *l) {
    unsigned before = l->ring->n;
    char why[256];
    errno = 0;
    if (each_in_dir(path, load_file, l))
        return l->ring->n > before || refuse(l, path, "there is no file with a key; write \"dir:\" and their directory");
    if (l->said)
        return false;
    snprintf(why, sizeof why, "%s; write \"dir:\" and a directory that lethe may read",
             errno ? strerror(errno) : "too many files");
    return refuse(l, path, why);
}

static bool load_entry(struct lt_span entry, struct load *l) {
    char path[PATH_SIZE];
    if (lt_span_starts(entry, file_mark)) {
        path_of(entry, file_mark.n, path);
        return load_file(path, l);
    }
    if (lt_span_starts(entry, dir_mark)) {
        path_of(entry, dir_mark.n, path);
        return load_dir(path, l);
    }
    return lt_key_ring_add(l->ring, entry, l->error, l->size);
}

static bool names_files(struct lt_span option) {
    struct lt_span entry;
    while (lt_key_ring_next(&option, &entry))
        if (lt_span_starts(entry, file_mark) || lt_span_starts(entry, dir_mark))
            return true;
    return false;
}

bool lt_keys_load(struct lt_key_ring *ring, struct lt_span option, char *error, size_t size) {
    struct load l = {ring, error, size, false};
    struct lt_span entry;
    if (!names_files(option))
        return lt_key_ring_parse(ring, option, error, size); // which counts the keys in its messages
    *ring = (struct lt_key_ring){.n = 0};
    while (lt_key_ring_next(&option, &entry))
        if (!load_entry(entry, &l)) {
            lt_key_ring_wipe(ring);
            return false;
        }
    return true;
}

// --- has it changed? ---

// FNV-1a.
static void mix(uint64_t *stamp, const void *bytes, size_t n) {
    const unsigned char *b = bytes;
    for (size_t i = 0; i < n; i++)
        *stamp = (*stamp ^ b[i]) * UINT64_C(0x100000001b3);
}

static bool stamp_file(const char *path, void *stamp) {
    struct stat st;
    mix(stamp, path, strlen(path));
    if (stat(path, &st) != 0)
        return true;
    mix(stamp, &st.st_ino, sizeof st.st_ino);
    mix(stamp, &st.st_size, sizeof st.st_size);
    mix(stamp, &st.st_mtim, sizeof st.st_mtim);
    return true;
}

uint64_t lt_keys_stamp(struct lt_span option) {
    struct lt_span entry;
    uint64_t stamp = UINT64_C(0xcbf29ce484222325);
    char path[PATH_SIZE];
    if (!names_files(option))
        return 0;
    while (lt_key_ring_next(&option, &entry)) {
        bool dir = lt_span_starts(entry, dir_mark);
        if (!dir && !lt_span_starts(entry, file_mark))
            continue;
        path_of(entry, dir ? dir_mark.n : file_mark.n, path);
        if (dir)
            each_in_dir(path, stamp_file, &stamp);
        else
            stamp_file(path, &stamp);
    }
    return stamp;
}

// --- without the option ---

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
