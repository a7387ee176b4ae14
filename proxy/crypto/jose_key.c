// SPDX-License-Identifier: Apache-2.0
// Keys for jose.c: from bytes and from PEM, to JWK and to PEM.
#include "crypto/jose.h"

#include "crypto/token.h"

#include <cjose/jwk.h>
#include <openssl/bio.h>
#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/pem.h>

enum { COORDINATE = 32, POINT = 1 + 2 * COORDINATE };

static void name(struct lt_jose_key *key, enum lt_jose_alg alg, struct lt_span kid) {
    *key = (struct lt_jose_key){.alg = alg};
    memcpy(key->kid, kid.p, kid.n < LT_JOSE_KID_MAX ? kid.n : LT_JOSE_KID_MAX);
}

bool lt_jose_key_secret(struct lt_jose_key *key, enum lt_jose_alg alg, struct lt_span kid, struct lt_span secret) {
    name(key, alg, kid);
    key->jwk = cjose_jwk_create_oct_spec((const uint8_t *)secret.p, secret.n, NULL);
    key->makes = true;
    return key->jwk != NULL;
}

void lt_jose_key_fini(struct lt_jose_key *key) {
    if (key->jwk)
        cjose_jwk_release(key->jwk);
    EVP_PKEY_free(key->pkey);
    *key = (struct lt_jose_key){.jwk = NULL};
}

// --- PEM ---

// A file that wants a pass phrase must not stop the process with a question at the terminal.
static int no_password(char *out, int size, int writing, void *user) {
    (void)out;
    (void)size;
    (void)writing;
    (void)user;
    return -1;
}

static EVP_PKEY *read_pem(struct lt_span pem, bool *is_private) {
    BIO *in = BIO_new_mem_buf(pem.p, (int)pem.n);
    EVP_PKEY *pkey = in ? PEM_read_bio_PrivateKey(in, NULL, no_password, NULL) : NULL;
    *is_private = pkey != NULL;
    BIO_free(in);
    in = pkey ? NULL : BIO_new_mem_buf(pem.p, (int)pem.n);
    if (in)
        pkey = PEM_read_bio_PUBKEY(in, NULL, no_password, NULL);
    BIO_free(in);
    return pkey;
}

static bool is_p256(const EVP_PKEY *pkey) {
    char group[32] = "";
    return EVP_PKEY_is_a(pkey, "EC") && EVP_PKEY_get_group_name(pkey, group, sizeof group, NULL) == 1 &&
           strcmp(group, "prime256v1") == 0;
}

// The public point's two coordinates.
static bool coordinates(const EVP_PKEY *pkey, uint8_t x[COORDINATE], uint8_t y[COORDINATE]) {
    BIGNUM *bx = NULL, *by = NULL;
    bool ok = EVP_PKEY_get_bn_param(pkey, OSSL_PKEY_PARAM_EC_PUB_X, &bx) == 1 &&
              EVP_PKEY_get_bn_param(pkey, OSSL_PKEY_PARAM_EC_PUB_Y, &by) == 1 &&
              BN_bn2binpad(bx, x, COORDINATE) == COORDINATE && BN_bn2binpad(by, y, COORDINATE) == COORDINATE;
    BN_free(bx);
    BN_free(by);
    return ok;
}

static cjose_jwk_t *jwk_of(const EVP_PKEY *pkey, bool is_private) {
    uint8_t x[COORDINATE], y[COORDINATE], d[COORDINATE];
    BIGNUM *secret = NULL;
    cjose_jwk_ec_keyspec spec = {.crv = CJOSE_JWK_EC_P_256, .x = x, .xlen = COORDINATE, .y = y, .ylen = COORDINATE};
    bool ok = coordinates(pkey, x, y);
    if (ok && is_private) {
        ok = EVP_PKEY_get_bn_param(pkey, OSSL_PKEY_PARAM_PRIV_KEY, &secret) == 1 &&
             BN_bn2binpad(secret, d, COORDINATE) == COORDINATE;
        spec.d = d;
        spec.dlen = COORDINATE;
    }
    cjose_jwk_t *jwk = ok ? cjose_jwk_create_EC_spec(&spec, NULL) : NULL;
    BN_clear_free(secret);
    OPENSSL_cleanse(d, sizeof d);
    return jwk;
}

const char *lt_jose_key_pem(struct lt_jose_key *key, enum lt_jose_alg alg, struct lt_span kid, struct lt_span pem) {
    name(key, alg, kid);
    key->pkey = read_pem(pem, &key->makes);
    if (!key->pkey)
        return "is no key in PEM form without a pass phrase";
    if (alg == LT_JOSE_EDDSA)
        return EVP_PKEY_is_a(key->pkey, "ED25519") ? NULL : "is no Ed25519 key, which EdDSA needs";
    if (!is_p256(key->pkey))
        return "is no P-256 key, which ES256 needs";
    key->jwk = jwk_of(key->pkey, key->makes);
    return key->jwk ? NULL : "cannot be used";
}

bool lt_jose_new_pem(enum lt_jose_alg alg, FILE *out) {
    EVP_PKEY *pkey =
        alg == LT_JOSE_EDDSA ? EVP_PKEY_Q_keygen(NULL, NULL, "ED25519") : EVP_PKEY_Q_keygen(NULL, NULL, "EC", "P-256");
    bool ok = pkey && PEM_write_PrivateKey(out, pkey, NULL, NULL, 0, NULL, NULL) == 1;
    EVP_PKEY_free(pkey);
    return ok;
}

// --- JWK ---

static bool print_point(struct lt_buf *out, const char *member, const uint8_t bytes[COORDINATE]) {
    char text[(COORDINATE * 4 + 2) / 3 + 1];
    lt_base64url_encode(bytes, COORDINATE, text);
    return lt_buf_printf(out, ",\"%s\":\"%s\"", member, text);
}

bool lt_jose_print_jwk(const struct lt_jose_key *key, struct lt_buf *out) {
    uint8_t x[COORDINATE], y[COORDINATE];
    size_t n = sizeof x;
    bool ed = key->alg == LT_JOSE_EDDSA;
    bool ok = ed ? EVP_PKEY_get_raw_public_key(key->pkey, x, &n) == 1 && n == COORDINATE : coordinates(key->pkey, x, y);
    return ok &&
           lt_buf_printf(out, "{\"kty\":\"%s\",\"crv\":\"%s\",\"alg\":\"%s\",\"use\":\"sig\",\"kid\":\"%s\"",
                         ed ? "OKP" : "EC", ed ? "Ed25519" : "P-256", lt_jose_algs[key->alg], key->kid) &&
           print_point(out, "x", x) && (ed || print_point(out, "y", y)) && lt_buf_append(out, LT_S("}"));
}
