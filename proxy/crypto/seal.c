// SPDX-License-Identifier: Apache-2.0
#include "crypto/seal.h"

#include "crypto/token.h"

#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/kdf.h>
#include <openssl/params.h>
#include <pthread.h>

enum { VERSION = 1, NONCE = 12, TAG = 16, OVERHEAD = 2 + NONCE + TAG };

// Fetched once: a fetch by name at every use costs more than the work itself.
static EVP_KDF *hkdf;
static EVP_CIPHER *gcm;
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void fetch(void) {
    hkdf = EVP_KDF_fetch(NULL, "HKDF", NULL);
    gcm = EVP_CIPHER_fetch(NULL, "AES-256-GCM", NULL);
}

// RFC 5869: the ring key is the input keying material, the client's secret the salt, the purpose the info.
bool lt_key_derive(const struct lt_key *ring_key, struct lt_seal_context context, uint8_t out[LT_KEY_BYTES]) {
    char digest[] = "SHA256";
    OSSL_PARAM params[5], *p = params;
    *p++ = OSSL_PARAM_construct_utf8_string(OSSL_KDF_PARAM_DIGEST, digest, 0);
    *p++ = OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_KEY, (void *)ring_key->secret, LT_KEY_BYTES);
    *p++ = OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_INFO, (void *)context.purpose.p, context.purpose.n);
    if (context.secret.n)
        *p++ = OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_SALT, (void *)context.secret.p, context.secret.n);
    *p = OSSL_PARAM_construct_end();
    pthread_once(&once, fetch);
    EVP_KDF_CTX *c = hkdf && gcm ? EVP_KDF_CTX_new(hkdf) : NULL;
    bool ok = c && EVP_KDF_derive(c, out, LT_KEY_BYTES, params) == 1;
    EVP_KDF_CTX_free(c);
    return ok;
}

// Starts the cipher with key and nonce and feeds what is authenticated but not encrypted.
static EVP_CIPHER_CTX *begin(const uint8_t *key, const uint8_t *nonce, bool encrypt, struct lt_span head,
                             struct lt_span bound) {
    EVP_CIPHER_CTX *c = EVP_CIPHER_CTX_new();
    int n;
    if (c && EVP_CipherInit_ex2(c, gcm, key, nonce, encrypt, NULL) &&
        EVP_CipherUpdate(c, NULL, &n, (const unsigned char *)head.p, (int)head.n) &&
        (bound.n == 0 || EVP_CipherUpdate(c, NULL, &n, (const unsigned char *)bound.p, (int)bound.n)))
        return c;
    EVP_CIPHER_CTX_free(c);
    return NULL;
}

size_t lt_seal_size(size_t n) {
    return n + OVERHEAD + LT_KEY_ID_MAX;
}

size_t lt_seal(const struct lt_key_ring *ring, struct lt_seal_context context, struct lt_span bound,
               struct lt_span plain, uint8_t *out) {
    uint8_t key[LT_KEY_BYTES];
    if (ring->n == 0 || plain.n > INT32_MAX || !lt_key_derive(&ring->keys[0], context, key))
        return 0;
    size_t id = strlen(ring->keys[0].id), result = 0;
    out[0] = VERSION;
    out[1] = (uint8_t)id;
    memcpy(out + 2, ring->keys[0].id, id);
    uint8_t *nonce = out + 2 + id, *text = nonce + NONCE;
    int n = 0, last = 0;
    EVP_CIPHER_CTX *c = lt_random(nonce, NONCE) ? begin(key, nonce, true, lt_span((char *)out, 2 + id), bound) : NULL;
    if (c && (plain.n == 0 || EVP_CipherUpdate(c, text, &n, (const unsigned char *)plain.p, (int)plain.n)) &&
        EVP_CipherFinal_ex(c, text + n, &last) && EVP_CIPHER_CTX_ctrl(c, EVP_CTRL_AEAD_GET_TAG, TAG, text + n + last))
        result = OVERHEAD + id + (size_t)n + (size_t)last;
    EVP_CIPHER_CTX_free(c);
    OPENSSL_cleanse(key, sizeof key);
    return result;
}

static const struct lt_key *find(const struct lt_key_ring *ring, struct lt_span id, unsigned *index) {
    for (unsigned i = 0; i < ring->n; i++) {
        if (!lt_span_eq(lt_span_cstr(ring->keys[i].id), id))
            continue;
        if (index)
            *index = i;
        return &ring->keys[i];
    }
    return NULL;
}

bool lt_open(const struct lt_key_ring *ring, struct lt_seal_context context, struct lt_span bound,
             struct lt_span sealed, uint8_t *out, size_t *n, unsigned *key_index) {
    const uint8_t *in = (const uint8_t *)sealed.p;
    uint8_t key[LT_KEY_BYTES], tag[TAG];
    if (sealed.n < OVERHEAD || sealed.n > INT32_MAX || in[0] != VERSION || sealed.n < (size_t)OVERHEAD + in[1])
        return false;
    size_t id = in[1];
    const struct lt_key *ring_key = find(ring, lt_span(sealed.p + 2, id), key_index);
    if (!ring_key || !lt_key_derive(ring_key, context, key))
        return false;
    const uint8_t *nonce = in + 2 + id, *text = nonce + NONCE;
    size_t length = sealed.n - OVERHEAD - id;
    memcpy(tag, text + length, TAG);
    int m = 0, last = 0;
    EVP_CIPHER_CTX *c = begin(key, nonce, false, lt_span(sealed.p, 2 + id), bound);
    bool ok = c && (length == 0 || EVP_CipherUpdate(c, out, &m, text, (int)length)) &&
              EVP_CIPHER_CTX_ctrl(c, EVP_CTRL_AEAD_SET_TAG, TAG, tag) && EVP_CipherFinal_ex(c, out + m, &last);
    EVP_CIPHER_CTX_free(c);
    OPENSSL_cleanse(key, sizeof key);
    *n = ok ? (size_t)m + (size_t)last : 0;
    return ok;
}
