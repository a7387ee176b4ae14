// SPDX-License-Identifier: Apache-2.0
#include "crypto/jose.h"

#include "crypto/token.h"

#include <cjose/cjose.h>
#include <jansson.h>
#include <openssl/evp.h>
#include <stdlib.h>

enum { PARTS = 5, NONCE = 12, TAG = 16, SIGNATURE = 64, MAC = 32, HEADER_MAX = 512 };

const char *const lt_jose_algs[] = {"dir+A256GCM", "EdDSA", "ES256", "HS256", NULL};

static const struct names {
    const char *alg, *enc;
} names[] = {{"dir", "A256GCM"}, {"EdDSA", NULL}, {"ES256", NULL}, {"HS256", NULL}};

bool lt_jose_is_asymmetric(enum lt_jose_alg alg) {
    return alg == LT_JOSE_EDDSA || alg == LT_JOSE_ES256;
}

// --- the compact form ---

// header.payload.signature, or header..nonce.ciphertext.tag
struct compact {
    struct lt_span part[PARTS];
    unsigned n;
};

static bool split(struct lt_span token, struct compact *c) {
    *c = (struct compact){.n = 0};
    if (token.n > LT_JOSE_TOKEN_MAX)
        return false;
    for (;;) {
        size_t dot = lt_span_find(token, '.');
        if (c->n == PARTS)
            return false;
        c->part[c->n++] = lt_span(token.p, dot);
        if (dot == token.n)
            return true;
        token = lt_span(token.p + dot + 1, token.n - dot - 1);
    }
}

static bool has_length(struct lt_span part, size_t bytes) {
    return part.n == (bytes * 4 + 2) / 3;
}

// Only the one spelling of each part: else a token could be changed and would still be taken.
static bool is_canonical(const struct compact *c) {
    for (unsigned i = 0; i < c->n; i++) {
        size_t n;
        uint8_t *room = malloc(c->part[i].n + 1);
        bool ok = room && lt_base64url_decode(c->part[i], room, c->part[i].n + 1, &n);
        free(room);
        if (!ok)
            return false;
    }
    return true;
}

static bool has_form(const struct compact *c, enum lt_jose_alg alg) {
    if (alg == LT_JOSE_DIR_A256GCM)
        return c->n == PARTS && c->part[1].n == 0 && has_length(c->part[2], NONCE) && has_length(c->part[4], TAG);
    return c->n == 3 && has_length(c->part[2], alg == LT_JOSE_HS256 ? MAC : SIGNATURE);
}

// The protected header as an object; NULL: it is none.
static json_t *header_of(const struct compact *c) {
    char text[HEADER_MAX];
    size_t n;
    if (!lt_base64url_decode(c->part[0], text, sizeof text, &n))
        return NULL;
    json_t *header = json_loadb(text, n, JSON_REJECT_DUPLICATES, NULL);
    if (json_is_object(header))
        return header;
    json_decref(header);
    return NULL;
}

static bool says(const json_t *header, const char *name, const char *value) {
    const json_t *is = json_object_get(header, name);
    return value ? json_is_string(is) && strcmp(json_string_value(is), value) == 0 : is == NULL;
}

// What changes how a token is to be read is refused, whoever has signed it.
static bool is_for(const json_t *header, enum lt_jose_alg alg) {
    return says(header, "alg", names[alg].alg) && says(header, "enc", names[alg].enc) && says(header, "crit", NULL) &&
           says(header, "zip", NULL) && says(header, "b64", NULL);
}

bool lt_jose_kid(struct lt_span token, enum lt_jose_alg alg, char kid[LT_JOSE_KID_MAX + 1]) {
    struct compact c;
    json_t *header = split(token, &c) && has_form(&c, alg) ? header_of(&c) : NULL;
    const char *is = json_string_value(json_object_get(header, "kid"));
    bool ok = is && strlen(is) <= LT_JOSE_KID_MAX && is_for(header, alg) && says(header, "typ", "JWT") &&
              json_object_size(header) == (names[alg].enc ? 4 : 3);
    if (ok)
        memcpy(kid, is, strlen(is) + 1);
    json_decref(header);
    return ok;
}

// --- EdDSA ---

static bool eddsa_sign(const struct lt_jose_key *key, struct lt_span text, uint8_t signature[SIGNATURE]) {
    size_t n = SIGNATURE;
    EVP_MD_CTX *c = EVP_MD_CTX_new();
    bool ok = c && EVP_DigestSignInit(c, NULL, NULL, NULL, key->pkey) == 1 &&
              EVP_DigestSign(c, signature, &n, (const uint8_t *)text.p, text.n) == 1 && n == SIGNATURE;
    EVP_MD_CTX_free(c);
    return ok;
}

static bool eddsa_verify(const struct lt_jose_key *key, struct lt_span text, struct lt_span signature) {
    uint8_t bytes[SIGNATURE];
    size_t n;
    if (!lt_base64url_decode(signature, bytes, sizeof bytes, &n) || n != sizeof bytes)
        return false;
    EVP_MD_CTX *c = EVP_MD_CTX_new();
    bool ok = c && EVP_DigestVerifyInit(c, NULL, NULL, NULL, key->pkey) == 1 &&
              EVP_DigestVerify(c, bytes, sizeof bytes, (const uint8_t *)text.p, text.n) == 1;
    EVP_MD_CTX_free(c);
    return ok;
}

static bool append_encoded(struct lt_buf *out, struct lt_span bytes) {
    char *room = lt_buf_reserve(out, (bytes.n * 4 + 2) / 3 + 1);
    if (room)
        lt_buf_grew(out, lt_base64url_encode(bytes.p, bytes.n, room));
    return room != NULL;
}

static bool eddsa_make(const struct lt_jose_key *key, struct lt_span payload, struct lt_buf *out) {
    char header[128];
    uint8_t signature[SIGNATURE];
    size_t before = out->len;
    snprintf(header, sizeof header, "{\"alg\":\"EdDSA\",\"kid\":\"%s\",\"typ\":\"JWT\"}", key->kid);
    if (!append_encoded(out, lt_span_cstr(header)) || !lt_buf_append(out, LT_S(".")) || !append_encoded(out, payload))
        return false;
    struct lt_span text = lt_span(out->p + out->off + before, out->len - before);
    return eddsa_sign(key, text, signature) && lt_buf_append(out, LT_S(".")) &&
           append_encoded(out, lt_span((char *)signature, sizeof signature));
}

static bool eddsa_open(const struct lt_jose_key *key, const struct compact *c, struct lt_buf *payload) {
    const char *begin = c->part[0].p;
    size_t n, signed_size = (size_t)(c->part[1].p + c->part[1].n - begin);
    if (!eddsa_verify(key, lt_span(begin, signed_size), c->part[2]))
        return false;
    char *room = lt_buf_reserve(payload, c->part[1].n + 1);
    if (!room || !lt_base64url_decode(c->part[1], room, c->part[1].n + 1, &n))
        return false;
    lt_buf_grew(payload, n);
    return true;
}

// --- libcjose ---

static cjose_header_t *make_header(const struct lt_jose_key *key) {
    const struct names *is = &names[key->alg];
    cjose_header_t *h = cjose_header_new(NULL);
    if (h && cjose_header_set(h, CJOSE_HDR_ALG, is->alg, NULL) &&
        (!is->enc || cjose_header_set(h, CJOSE_HDR_ENC, is->enc, NULL)) &&
        cjose_header_set(h, CJOSE_HDR_KID, key->kid, NULL) && cjose_header_set(h, "typ", "JWT", NULL))
        return h;
    cjose_header_release(h);
    return NULL;
}

static bool jwe_make(const struct lt_jose_key *key, cjose_header_t *header, struct lt_span payload, struct lt_buf *out) {
    cjose_jwe_t *jwe = cjose_jwe_encrypt(key->jwk, header, (const uint8_t *)payload.p, payload.n, NULL);
    char *text = jwe ? cjose_jwe_export(jwe, NULL) : NULL;
    bool ok = text && lt_buf_append(out, lt_span_cstr(text));
    free(text);
    cjose_jwe_release(jwe);
    return ok;
}

static bool jws_make(const struct lt_jose_key *key, cjose_header_t *header, struct lt_span payload, struct lt_buf *out) {
    const char *text = NULL; // the signature's own
    cjose_jws_t *jws = cjose_jws_sign(key->jwk, header, (const uint8_t *)payload.p, payload.n, NULL);
    bool ok = jws && cjose_jws_export(jws, &text, NULL) && lt_buf_append(out, lt_span_cstr(text));
    cjose_jws_release(jws);
    return ok;
}

bool lt_jose_make(const struct lt_jose_key *key, struct lt_span payload, struct lt_buf *out) {
    if (!key->makes || payload.n == 0)
        return false;
    if (key->alg == LT_JOSE_EDDSA)
        return eddsa_make(key, payload, out);
    cjose_header_t *header = make_header(key);
    if (!header)
        return false;
    bool ok = key->alg == LT_JOSE_DIR_A256GCM ? jwe_make(key, header, payload, out) : jws_make(key, header, payload, out);
    cjose_header_release(header);
    return ok;
}

static bool jwe_open(const struct lt_jose_key *key, struct lt_span token, struct lt_buf *payload) {
    size_t n = 0;
    cjose_jwe_t *jwe = cjose_jwe_import(token.p, token.n, NULL);
    uint8_t *plain = jwe ? cjose_jwe_decrypt(jwe, key->jwk, &n, NULL) : NULL;
    bool ok = plain && lt_buf_append(payload, lt_span((const char *)plain, n));
    free(plain);
    cjose_jwe_release(jwe);
    return ok;
}

static bool jws_open(const struct lt_jose_key *key, struct lt_span token, struct lt_buf *payload) {
    uint8_t *plain = NULL; // the signature's own
    size_t n = 0;
    cjose_jws_t *jws = cjose_jws_import(token.p, token.n, NULL);
    bool ok = jws && cjose_jws_verify(jws, key->jwk, NULL) && cjose_jws_get_plaintext(jws, &plain, &n, NULL) &&
              lt_buf_append(payload, lt_span((const char *)plain, n));
    cjose_jws_release(jws);
    return ok;
}

bool lt_jose_open(const struct lt_jose_key *key, struct lt_span token, struct lt_buf *payload) {
    struct compact c;
    if (!split(token, &c) || !has_form(&c, key->alg) || !is_canonical(&c))
        return false;
    json_t *header = header_of(&c);
    bool ok = header && is_for(header, key->alg);
    json_decref(header);
    if (!ok)
        return false;
    if (key->alg == LT_JOSE_EDDSA)
        return eddsa_open(key, &c, payload);
    return key->alg == LT_JOSE_DIR_A256GCM ? jwe_open(key, token, payload) : jws_open(key, token, payload);
}
