// SPDX-License-Identifier: Apache-2.0
// The keys of JOSE tokens: derived from the key ring, or read from PEM files. The first one makes tokens, all of them open.
#pragma once

#include "crypto/jose.h"
#include "crypto/key_ring.h"

struct lt_jose_keys {
    enum lt_jose_alg alg;
    struct lt_jose_key keys[LT_KEYS_MAX];
    unsigned n;
};

// dir+A256GCM, HS256: a key for each of the ring's, under its id, by HKDF. False: no memory. The set must be given to
// lt_jose_keys_fini() in any case, as with lt_jose_keys_files().
bool lt_jose_keys_derive(struct lt_jose_keys *set, enum lt_jose_alg alg, const struct lt_key_ring *ring)
    __attribute__((warn_unused_result));

// EdDSA, ES256: `entries` of the form "kid=/path.pem"; the first must be a private key. False: `error` says what is wrong.
bool lt_jose_keys_files(struct lt_jose_keys *set, enum lt_jose_alg alg, const struct lt_span *entries, unsigned n,
                        char *error, size_t size) __attribute__((warn_unused_result));
void lt_jose_keys_fini(struct lt_jose_keys *set);

// NULL, or what to write instead of this entry.
const char *lt_jose_keys_check(struct lt_span entry);

// The payload of a token under one of the keys, by the kid in its header. False: another header, an unknown kid, changed on the way.
bool lt_jose_keys_open(const struct lt_jose_keys *set, struct lt_span token, struct lt_buf *payload)
    __attribute__((warn_unused_result));

// The public parts as a JWK set (RFC 7517 section 5).
bool lt_jose_keys_print(const struct lt_jose_keys *set, struct lt_buf *out) __attribute__((warn_unused_result));
