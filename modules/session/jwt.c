// SPDX-License-Identifier: Apache-2.0
#include "modules/session/jwt.h"

#include <stdlib.h>

bool jwt_init(struct jwt *j, const struct jwt_conf *conf, const struct lt_key_ring *ring, char *error, size_t size) {
    enum lt_jose_alg alg = (enum lt_jose_alg)conf->alg;
    *j = (struct jwt){.conf = conf, .rules = {conf->issuer, conf->audience, conf->leeway}};
    if (lt_jose_is_asymmetric(alg))
        return lt_jose_keys_files(&j->keys, alg, conf->keys.v, conf->keys.n, error, size);
    return lt_jose_keys_derive(&j->keys, alg, ring);
}

void jwt_fini(struct jwt *j) {
    lt_jose_keys_fini(&j->keys);
}

struct lt_record *jwt_open(const struct jwt *j, struct lt_span token, const struct client_limits *limits) {
    struct lt_buf payload;
    lt_buf_init(&payload, limits->max + 1);
    struct lt_record *r =
        lt_jose_keys_open(&j->keys, token, &payload) ? claims_read(lt_buf_span(&payload), &j->rules, limits) : NULL;
    lt_buf_fini(&payload);
    return r;
}

struct lt_span jwt_make(const struct jwt *j, const struct lt_record *record, const struct client_limits *limits,
                        struct lt_arena *arena, bool *too_large) {
    struct lt_buf token;
    struct lt_span value = {NULL, 0};
    char *claims = claims_print(record, &j->rules, limits);
    *too_large = claims && strlen(claims) > limits->max;
    lt_buf_init(&token, LT_JOSE_TOKEN_MAX);
    if (claims && !*too_large && lt_jose_make(&j->keys.keys[0], lt_span_cstr(claims), &token)) {
        *too_large = token.len > limits->max;
        value = *too_large ? value : lt_arena_dup(arena, lt_buf_span(&token));
    }
    lt_buf_fini(&token);
    free(claims);
    return value;
}
