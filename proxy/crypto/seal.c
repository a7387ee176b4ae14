// SPDX-License-Identifier: Apache-2.0
#include "crypto/seal.h"

#include "crypto/hmac.h"
#include "crypto/token.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <pthread.h>

enum { VERSION = 1, NONCE = 12, TAG = 16, OVERHEAD = 2 + NONCE + TAG };

// RFC 5869: the ring key is the input keying material, the client's secret the salt, the purpose the info.
void lt_key_derive(const struct lt_key *ring_key, struct lt_seal_context context, uint8_t out[LT_KEY_BYTES]) {
    lt_hkdf(lt_span((const char *)ring_key->secret, LT_KEY_BYTES), context.secret, context.purpose, out);
}

// One cipher a thread, made once: its key and nonce are set anew at each use. NULL: no memory.
static pthread_key_t cipher_of_thread;
static pthread_once_t once = PTHREAD_ONCE_INIT;
static EVP_CIPHER *gcm; // fetched once: a fetch by name costs more than the work itself

static void free_cipher(void *c) {
    EVP_CIPHER_CTX_free(c);
}

static void fetch(void) {
    gcm = pthread_key_create(&cipher_of_thread, free_cipher) == 0 ? EVP_CIPHER_fetch(NULL, "AES-256-GCM", NULL) : NULL;
}

static EVP_CIPHER_CTX *own_cipher(void) {
    pthread_once(&once, fetch);
    EVP_CIPHER_CTX *c = gcm ? pthread_getspecific(cipher_of_thread) : NULL;
    if (c || !gcm)
        return c;
    c = EVP_CIPHER_CTX_new();
    if (c && pthread_setspecific(cipher_of_thread, c) == 0)
        return c;
    EVP_CIPHER_CTX_free(c);
    return NULL;
}

// Starts the cipher with key and nonce and feeds what is authenticated but not encrypted.
static EVP_CIPHER_CTX *begin(const uint8_t *key, const uint8_t *nonce, bool encrypt, struct lt_span head,
                             struct lt_span bound) {
    EVP_CIPHER_CTX *c = own_cipher();
    int n;
    bool ok = c && EVP_CipherInit_ex2(c, EVP_CIPHER_CTX_get0_cipher(c) ? NULL : gcm, key, nonce, encrypt, NULL) &&
              EVP_CipherUpdate(c, NULL, &n, (const unsigned char *)head.p, (int)head.n) &&
              (bound.n == 0 || EVP_CipherUpdate(c, NULL, &n, (const unsigned char *)bound.p, (int)bound.n));
    return ok ? c : NULL;
}

size_t lt_seal_size(size_t n) {
    return n + OVERHEAD + LT_KEY_ID_MAX;
}

size_t lt_seal(const struct lt_key_ring *ring, struct lt_seal_context context, struct lt_span bound,
               struct lt_span plain, uint8_t *out) {
    uint8_t key[LT_KEY_BYTES];
    if (ring->n == 0 || plain.n > INT32_MAX)
        return 0;
    lt_key_derive(&ring->keys[0], context, key);
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
    if (!ring_key)
        return false;
    lt_key_derive(ring_key, context, key);
    const uint8_t *nonce = in + 2 + id, *text = nonce + NONCE;
    size_t length = sealed.n - OVERHEAD - id;
    memcpy(tag, text + length, TAG);
    int m = 0, last = 0;
    EVP_CIPHER_CTX *c = begin(key, nonce, false, lt_span(sealed.p, 2 + id), bound);
    bool ok = c && (length == 0 || EVP_CipherUpdate(c, out, &m, text, (int)length)) &&
              EVP_CIPHER_CTX_ctrl(c, EVP_CTRL_AEAD_SET_TAG, TAG, tag) && EVP_CipherFinal_ex(c, out + m, &last);
    OPENSSL_cleanse(key, sizeof key);
    *n = ok ? (size_t)m + (size_t)last : 0;
    return ok;
}
