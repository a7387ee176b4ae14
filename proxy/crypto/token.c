// SPDX-License-Identifier: Apache-2.0
#include "crypto/token.h"

#include "crypto/hmac.h"

#include <openssl/rand.h>

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

// The key is public and fixed: the token's 256 random bits are what cannot be guessed, the key only sets this use (and this
// application) apart from every other hash of the same bytes.
void lt_secret_hash(struct lt_span secret, const char *use, struct lt_span scope, char out[LT_TOKEN_HASH_TEXT + 1]) {
    static const struct lt_span before = {"lethe store ", 12}, behind = {" v1/", 4};
    const struct lt_span pieces[] = {before, lt_span_cstr(use), behind, lt_span(scope.p, scope.n < 64 ? scope.n : 64)};
    char key[128];
    uint8_t hash[LT_SHA256_BYTES];
    size_t n = 0;
    for (unsigned i = 0; i < sizeof pieces / sizeof *pieces; n += pieces[i++].n)
        if (pieces[i].n)
            memcpy(key + n, pieces[i].p, pieces[i].n);
    lt_hmac(lt_span(key, n), &secret, 1, hash);
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
