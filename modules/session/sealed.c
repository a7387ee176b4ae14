// SPDX-License-Identifier: Apache-2.0
#include "modules/session/sealed.h"

#include "crypto/token.h"

#include <stdlib.h>

static const struct lt_seal_context context = {{"sealed-cookie", 13}, {NULL, 0}};

struct lt_record *sealed_open(const struct lt_key_ring *ring, struct lt_span cookie_name, struct lt_span value,
                              int64_t now, int64_t idle_ttl, int64_t absolute_ttl) {
    uint8_t sealed[SEALED_COOKIE_MAX], plain[SEALED_COOKIE_MAX];
    size_t n, m;
    if (value.n > SEALED_COOKIE_MAX || !lt_base64url_decode(value, sealed, sizeof sealed, &n) ||
        !lt_open(ring, context, cookie_name, lt_span((char *)sealed, n), plain, &m, NULL))
        return NULL;
    struct lt_record *r = lt_record_decode(lt_span((char *)plain, m));
    if (r && (now > r->used + idle_ttl || now > r->created + absolute_ttl)) {
        lt_record_free(r);
        return NULL;
    }
    return r;
}

struct lt_span sealed_make(const struct lt_key_ring *ring, struct lt_span cookie_name, const struct lt_record *record,
                           struct lt_arena *arena, bool *too_large) {
    struct lt_buf plain;
    struct lt_span value = {NULL, 0};
    lt_buf_init(&plain, SEALED_COOKIE_MAX);
    *too_large = !lt_record_encode(record, &plain);
    uint8_t *sealed = *too_large ? NULL : malloc(lt_seal_size(plain.len));
    size_t n = sealed ? lt_seal(ring, context, cookie_name, lt_buf_span(&plain), sealed) : 0;
    *too_large = *too_large || (n * 4 + 2) / 3 > SEALED_COOKIE_MAX;
    char *text = n && !*too_large ? lt_arena_alloc(arena, (n * 4 + 2) / 3 + 1) : NULL;
    if (text)
        value = lt_span(text, lt_base64url_encode(sealed, n, text));
    free(sealed);
    lt_buf_fini(&plain);
    return value;
}
