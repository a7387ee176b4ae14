// SPDX-License-Identifier: Apache-2.0
#include "crypto/token.h"

#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <openssl/params.h>
#include <openssl/rand.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

bool lt_random(void *out, size_t n) {
    return RAND_priv_bytes(out, (int)n) == 1;
}

bool lt_token_new(struct lt_token *t) {
    return lt_random(t->bytes, sizeof t->bytes);
}

void lt_token_format(const struct lt_token *t, char out[LT_TOKEN_TEXT + 1]) {
    lt_base64url_encode(t->bytes, sizeof t->bytes, out);
}

bool lt_token_parse(struct lt_span text, struct lt_token *t) {
    size_t n;
    return text.n == LT_TOKEN_TEXT && lt_base64url_decode(text, t->bytes, sizeof t->bytes, &n) && n == sizeof t->bytes;
}

// Fetched once: a fetch by name at every use costs more than the MAC itself.
static EVP_MAC *hmac;
static pthread_once_t hmac_once = PTHREAD_ONCE_INIT;

static void hmac_fetch(void) {
    hmac = EVP_MAC_fetch(NULL, "HMAC", NULL);
}

// The key is public and fixed: the token's 256 random bits are what cannot be guessed, the key only sets this use (and this
// application) apart from every other hash of the same bytes.
void lt_secret_hash(struct lt_span secret, const char *use, struct lt_span scope, char out[LT_TOKEN_HASH_TEXT + 1]) {
    char digest[] = "SHA256";
    unsigned char key[128], hash[32];
    size_t n, salt = (size_t)snprintf((char *)key, 64, "lethe store %s v1/", use), scoped = scope.n < 64 ? scope.n : 64;
    if (scoped)
        memcpy(key + salt, scope.p, scoped);
    const OSSL_PARAM params[] = {OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, digest, 0), OSSL_PARAM_END};
    pthread_once(&hmac_once, hmac_fetch);
    EVP_MAC_CTX *c = hmac ? EVP_MAC_CTX_new(hmac) : NULL;
    if (!c || !EVP_MAC_init(c, key, salt + scoped, params) ||
        !EVP_MAC_update(c, (const unsigned char *)secret.p, secret.n) || !EVP_MAC_final(c, hash, &n, sizeof hash))
        abort(); // no memory for 200 bytes, or a libcrypto without HMAC: nothing can be looked up safely
    EVP_MAC_CTX_free(c);
    lt_base64url_encode(hash, sizeof hash, out);
}

void lt_token_hash(const struct lt_token *t, struct lt_span scope, char out[LT_TOKEN_HASH_TEXT + 1]) {
    lt_secret_hash(lt_span((const char *)t->bytes, sizeof t->bytes), "name", scope, out);
}

size_t lt_base64url_encode(const void *in, size_t n, char *out) {
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    const unsigned char *b = in;
    size_t o = 0;
    uint32_t bits = 0;
    unsigned held = 0;
    for (size_t i = 0; i < n; i++) {
        bits = bits << 8 | b[i];
        for (held += 8; held >= 6; held -= 6)
            out[o++] = digits[bits >> (held - 6) & 63];
    }
    if (held)
        out[o++] = digits[bits << (6 - held) & 63];
    out[o] = '\0';
    return o;
}

static int digit(char c) {
    if (c >= 'A' && c <= 'Z')
        return c - 'A';
    if (c >= 'a' && c <= 'z')
        return c - 'a' + 26;
    if (c >= '0' && c <= '9')
        return c - '0' + 52;
    return c == '-' ? 62 : c == '_' ? 63 : -1;
}

bool lt_base64url_decode(struct lt_span text, void *out, size_t size, size_t *n) {
    unsigned char *b = out;
    uint32_t bits = 0;
    unsigned held = 0;
    *n = 0;
    if (text.n % 4 == 1)
        return false;
    for (size_t i = 0; i < text.n; i++) {
        int d = digit(text.p[i]);
        if (d < 0)
            return false;
        bits = bits << 6 | (uint32_t)d;
        held += 6;
        if (held < 8)
            continue;
        if (*n == size)
            return false;
        held -= 8;
        b[(*n)++] = (unsigned char)(bits >> held);
    }
    return (bits & ((1u << held) - 1)) == 0; // the canonical spelling leaves no bits over
}
