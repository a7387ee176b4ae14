// SPDX-License-Identifier: Apache-2.0
// The store without a server, in a form that others know: the client's cookie is a JSON Web Token, encrypted (JWE) or signed (JWS). It carries
// the jar only. jwt_module.c has the options jwt.* and prints the public keys on the admin listener.
#pragma once

#include "crypto/jose_keys.h"
#include "modules/session/claims.h"

struct jwt_conf {
    int alg;
    struct lt_span issuer, audience;
    struct lt_option_list keys, claims_headers;
    int64_t leeway;
};

struct jwt {
    const struct jwt_conf *conf; // NULL: the store is another one
    struct claims_rules rules;
    struct lt_jose_keys keys;
};

static inline bool jwt_is_store(const struct lt_config *config) {
    return lt_span_eq(lt_config_text(config, "store"), LT_S("jwt"));
}

// False: `error` says what is wrong. It must be given to jwt_fini() in any case.
bool jwt_init(struct jwt *j, const struct jwt_conf *conf, const struct lt_key_ring *ring, char *error, size_t size);
void jwt_fini(struct jwt *j);

// The record in a token; NULL: not one of ours, changed on the way, or its time is over.
struct lt_record *jwt_open(const struct jwt *j, struct lt_span token, const struct client_limits *limits);

// The token, in the arena. `.p` NULL: no memory, or (with *too_large) over limits->max.
struct lt_span jwt_make(const struct jwt *j, const struct lt_record *record, const struct client_limits *limits,
                        struct lt_arena *arena, bool *too_large);

// jwt_headers.c: takes what the client itself sends under the names of jwt.claims_headers out of the request, in whatever spelling a
// server may take for the same ("X_User").
void jwt_strip_headers(const struct jwt_conf *conf, struct lt_h1_head *request);

// Puts the verified claims there. False: no memory.
bool jwt_add_headers(const struct jwt_conf *conf, struct lt_h1_head *request, const struct lt_record *record,
                     struct lt_arena *arena);

// NULL, or what to write instead of this entry of jwt.claims_headers.
const char *jwt_check_header(struct lt_span entry);
