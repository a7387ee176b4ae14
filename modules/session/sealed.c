// SPDX-License-Identifier: Apache-2.0
#include "modules/session/sealed.h"

#include "crypto/token.h"

#include <stdlib.h>

static const struct lt_seal_context context = {{"sealed-cookie", 13}, {NULL, 0}};

static size_t text_size(size_t n) {
    return (n * 4 + 2) / 3;
}

struct lt_record *sealed_open(const struct lt_key_ring *ring, struct lt_span cookie_name, struct lt_span value,
                              const struct client_limits *limits, const struct lt_key **key) {
    struct lt_record *r = NULL;
    unsigned index;
    size_t n, m;
    uint8_t *sealed = malloc(2 * value.n + 2), *plain = sealed ? sealed + value.n + 1 : NULL;
    if (sealed && lt_base64url_decode(value, sealed, value.n, &n) &&
        lt_open(ring, context, cookie_name, lt_span((char *)sealed, n), plain, &m, &index)) {
        r = lt_record_decode(lt_span((char *)plain, m));
        if (key)
            *key = &ring->keys[index];
    }
    free(sealed);
    if (r && client_is_over(r, limits)) {
        lt_record_free(r);
        return NULL;
    }
    return r;
}

struct lt_span sealed_make(const struct lt_key_ring *ring, struct lt_span cookie_name, const struct lt_record *record,
                           const struct client_limits *limits, struct lt_arena *arena, bool *too_large) {
    struct lt_buf plain;
    struct lt_span value = {NULL, 0};
    lt_buf_init(&plain, limits->max);
    *too_large = !lt_record_encode(record, &plain);
    uint8_t *sealed = *too_large ? NULL : malloc(lt_seal_size(plain.len));
    size_t n = sealed ? lt_seal(ring, context, cookie_name, lt_buf_span(&plain), sealed) : 0;
    *too_large = *too_large || text_size(n) > limits->max;
    char *text = n && !*too_large ? lt_arena_alloc(arena, text_size(n) + 1) : NULL;
    if (text)
        value = lt_span(text, lt_base64url_encode(sealed, n, text));
    free(sealed);
    lt_buf_fini(&plain);
    return value;
}
