// SPDX-License-Identifier: Apache-2.0
// The plain functions of SHA-256 are called deprecated by OpenSSL 3 in favour of EVP, which allocates and locks for every digest.
#define OPENSSL_SUPPRESS_DEPRECATED
#include "crypto/hmac.h"

#include <openssl/crypto.h>
#include <openssl/sha.h>

_Static_assert(SHA256_DIGEST_LENGTH == LT_SHA256_BYTES, "SHA-256");

// A hash that begins with the key's block under `pad`.
static void begin(SHA256_CTX *c, const uint8_t block[SHA256_CBLOCK], uint8_t pad) {
    uint8_t padded[SHA256_CBLOCK];
    for (unsigned i = 0; i < SHA256_CBLOCK; i++)
        padded[i] = block[i] ^ pad;
    SHA256_Init(c);
    SHA256_Update(c, padded, sizeof padded);
    OPENSSL_cleanse(padded, sizeof padded);
}

void lt_hmac(struct lt_span key, const struct lt_span *pieces, unsigned n, uint8_t out[LT_SHA256_BYTES]) {
    uint8_t block[SHA256_CBLOCK] = {0};
    SHA256_CTX c;
    if (key.n > sizeof block)
        SHA256((const unsigned char *)key.p, key.n, block);
    else if (key.n)
        memcpy(block, key.p, key.n);
    begin(&c, block, 0x36);
    for (unsigned i = 0; i < n; i++)
        SHA256_Update(&c, pieces[i].p, pieces[i].n);
    SHA256_Final(out, &c);
    begin(&c, block, 0x5c);
    SHA256_Update(&c, out, LT_SHA256_BYTES);
    SHA256_Final(out, &c);
    OPENSSL_cleanse(block, sizeof block);
    OPENSSL_cleanse(&c, sizeof c);
}

void lt_hkdf(struct lt_span secret, struct lt_span salt, struct lt_span info, uint8_t out[LT_SHA256_BYTES]) {
    uint8_t prk[LT_SHA256_BYTES];
    lt_hmac(salt, &secret, 1, prk);
    lt_hmac(lt_span((const char *)prk, sizeof prk), (struct lt_span[]){info, LT_S("\x01")}, 2, out);
    OPENSSL_cleanse(prk, sizeof prk);
}
