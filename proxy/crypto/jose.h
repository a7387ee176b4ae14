// SPDX-License-Identifier: Apache-2.0
// JWE and JWS in their compact form (RFC 7516, RFC 7515) under one key and one algorithm, which the caller has chosen: what a token says
// about itself is compared with that, never followed. libcjose does dir + A256GCM, ES256 and HS256; EdDSA (RFC 8037), which it
// does not know, is OpenSSL's.
#pragma once

#include "base/buf.h"

#include <stdint.h>
#include <stdio.h>

enum lt_jose_alg { LT_JOSE_DIR_A256GCM, LT_JOSE_EDDSA, LT_JOSE_ES256, LT_JOSE_HS256 };
enum { LT_JOSE_KID_MAX = 32, LT_JOSE_TOKEN_MAX = 64 << 10 };

// "dir+A256GCM", "EdDSA", "ES256", "HS256", in the order of the enumeration; NULL behind them.
extern const char *const lt_jose_algs[];

// Is the key a pair of a private and a public one (EdDSA, ES256)?
bool lt_jose_is_asymmetric(enum lt_jose_alg alg);

// One key for one algorithm. Once made it is only read, by one thread.
struct lt_jose_key {
    char kid[LT_JOSE_KID_MAX + 1]; // [A-Za-z0-9._-]{1,32}
    enum lt_jose_alg alg;
    bool makes;               // false: a public key, which only verifies
    void *jwk;                // cjose_jwk_t; NULL with EdDSA
    struct evp_pkey_st *pkey; // EdDSA, ES256
};

// A symmetric key (32 bytes or more with HS256, 32 with A256GCM). False: no memory. The key must be given to lt_jose_key_fini() in any case.
bool lt_jose_key_secret(struct lt_jose_key *key, enum lt_jose_alg alg, struct lt_span kid, struct lt_span secret)
    __attribute__((warn_unused_result));

// A private or public key from PEM text: Ed25519 for EdDSA, P-256 for ES256. NULL: it is there; else what is wrong.
const char *lt_jose_key_pem(struct lt_jose_key *key, enum lt_jose_alg alg, struct lt_span kid, struct lt_span pem);
void lt_jose_key_fini(struct lt_jose_key *key);

// Appends the compact form of `payload` under the key, with the protected header {alg, enc, kid, typ: "JWT"}. False: no memory, over the
// buffer's maximum, or a key that does not sign.
bool lt_jose_make(const struct lt_jose_key *key, struct lt_span payload, struct lt_buf *out)
    __attribute__((warn_unused_result));

// The header's kid, if the header has exactly the members and the values that lt_jose_make() writes for `alg`. False: another header
// ("none", another alg, "crit", "zip", …). Nothing is verified yet.
bool lt_jose_kid(struct lt_span token, enum lt_jose_alg alg, char kid[LT_JOSE_KID_MAX + 1]);

// Verifies or decrypts, and appends the payload. Strict: the right number of parts, each in canonical base64url, nonce, tag and
// signature of their one length; the header's alg (and enc) must be the key's. False: anything else.
bool lt_jose_open(const struct lt_jose_key *key, struct lt_span token, struct lt_buf *payload)
    __attribute__((warn_unused_result));

// Prints the key's public part as a JWK (RFC 7517, RFC 8037). Asymmetric keys only. False: no memory.
bool lt_jose_print_jwk(const struct lt_jose_key *key, struct lt_buf *out) __attribute__((warn_unused_result));

// A new private key as PEM, for EdDSA or ES256. False: OpenSSL failed.
bool lt_jose_new_pem(enum lt_jose_alg alg, FILE *out);
