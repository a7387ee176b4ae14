// SPDX-License-Identifier: Apache-2.0
#include "crypto/token.h"

#include "crypto/hmac.h"

#include <errno.h>
#include <sys/random.h>

// Not by OpenSSL's generator, which is seeded from here too: it keeps two of its own for each thread (0.2 MB with what they need), and
// takes twice as long.
bool lt_random(void *out, size_t n) {
    unsigned char *at = out;
    while (n) {
        ssize_t got = getrandom(at, n, 0);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            return false;
        at += got;
        n -= (size_t)got;
    }
    return true;
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

// 64: no digit of base64url.
#define ROW8 64, 64, 64, 64, 64, 64, 64, 64
static const uint8_t values[256] = {
    ROW8, ROW8, ROW8, ROW8, ROW8, 64,   64,   64,   64,   64,   62,   64,   64, // "-" is 62
    52,   53,   54,   55,   56,   57,   58,   59,   60,   61,   64,   64,   64,   64, 64,   64,   64,
    0,    1,    2,    3,    4,    5,    6,    7,    8,    9,    10,   11,   12,   13, 14,   15,   16,
    17,   18,   19,   20,   21,   22,   23,   24,   25,   64,   64,   64,   64,   63, 64, // "_" is 63
    26,   27,   28,   29,   30,   31,   32,   33,   34,   35,   36,   37,   38,   39, 40,   41,   42,
    43,   44,   45,   46,   47,   48,   49,   50,   51,   64,   64,   64,   64,   64, ROW8, ROW8, ROW8,
    ROW8, ROW8, ROW8, ROW8, ROW8, ROW8, ROW8, ROW8, ROW8, ROW8, ROW8, ROW8, ROW8,
};
#undef ROW8

bool lt_base64url_decode(struct lt_span text, void *out, size_t size, size_t *n) {
    unsigned char *b = out;
    const unsigned char *in = (const unsigned char *)text.p;
    uint32_t bits = 0, wrong = 0;
    size_t whole = text.n / 4, rest = text.n % 4;
    *n = whole * 3 + rest * 3 / 4;
    if (rest == 1 || *n > size) {
        *n = 0;
        return false;
    }
    for (size_t i = 0; i < whole; i++, in += 4, b += 3) {
        uint32_t v0 = values[in[0]], v1 = values[in[1]], v2 = values[in[2]], v3 = values[in[3]];
        wrong |= v0 | v1 | v2 | v3;
        bits = v0 << 18 | v1 << 12 | v2 << 6 | v3;
        b[0] = (unsigned char)(bits >> 16);
        b[1] = (unsigned char)(bits >> 8);
        b[2] = (unsigned char)bits;
    }
    unsigned held = 0;
    for (size_t i = 0; i < rest; i++) {
        wrong |= values[in[i]];
        bits = bits << 6 | values[in[i]];
        held += 6;
        if (held >= 8) {
            held -= 8;
            *b++ = (unsigned char)(bits >> held);
        }
    }
    if (wrong & 64)
        return false;
    return (bits & ((1u << held) - 1)) == 0; // the canonical spelling leaves no bits over
}
