// SPDX-License-Identifier: Apache-2.0
#include "http/headers.h"

#include "http/chars.h"

enum { FIRST = 24 };

static const struct {
    const char *name;
    unsigned char n;
} names[LT_HDR_COUNT] = {
#define NAME(text)                                                                                                     \
    { text, sizeof(text) - 1 }
    [LT_HDR_OTHER] = NAME(""),
    [LT_HDR_HOST] = NAME("Host"),
    [LT_HDR_CONTENT_LENGTH] = NAME("Content-Length"),
    [LT_HDR_TRANSFER_ENCODING] = NAME("Transfer-Encoding"),
    [LT_HDR_CONNECTION] = NAME("Connection"),
    [LT_HDR_KEEP_ALIVE] = NAME("Keep-Alive"),
    [LT_HDR_PROXY_CONNECTION] = NAME("Proxy-Connection"),
    [LT_HDR_TE] = NAME("TE"),
    [LT_HDR_TRAILER] = NAME("Trailer"),
    [LT_HDR_UPGRADE] = NAME("Upgrade"),
    [LT_HDR_EXPECT] = NAME("Expect"),
    [LT_HDR_COOKIE] = NAME("Cookie"),
    [LT_HDR_SET_COOKIE] = NAME("Set-Cookie"),
    [LT_HDR_LOCATION] = NAME("Location"),
    [LT_HDR_CONTENT_TYPE] = NAME("Content-Type"),
    [LT_HDR_FORWARDED] = NAME("Forwarded"),
    [LT_HDR_X_FORWARDED_FOR] = NAME("X-Forwarded-For"),
    [LT_HDR_X_FORWARDED_PROTO] = NAME("X-Forwarded-Proto"),
    [LT_HDR_X_FORWARDED_HOST] = NAME("X-Forwarded-Host"),
    [LT_HDR_X_REQUEST_ID] = NAME("X-Request-Id"),
    [LT_HDR_TRACEPARENT] = NAME("traceparent"),
    [LT_HDR_VIA] = NAME("Via"),
    [LT_HDR_DATE] = NAME("Date"),
#undef NAME
};

// Names of one length and first letter are at most two: nearly every other field is told apart without a comparison.
static const unsigned char by_length[24][3] = {
    [2] = {LT_HDR_TE},
    [3] = {LT_HDR_VIA},
    [4] = {LT_HDR_HOST, LT_HDR_DATE},
    [6] = {LT_HDR_COOKIE, LT_HDR_EXPECT},
    [7] = {LT_HDR_UPGRADE, LT_HDR_TRAILER},
    [8] = {LT_HDR_LOCATION},
    [9] = {LT_HDR_FORWARDED},
    [10] = {LT_HDR_CONNECTION, LT_HDR_SET_COOKIE, LT_HDR_KEEP_ALIVE},
    [11] = {LT_HDR_TRACEPARENT},
    [12] = {LT_HDR_CONTENT_TYPE, LT_HDR_X_REQUEST_ID},
    [14] = {LT_HDR_CONTENT_LENGTH},
    [15] = {LT_HDR_X_FORWARDED_FOR},
    [16] = {LT_HDR_X_FORWARDED_HOST, LT_HDR_PROXY_CONNECTION},
    [17] = {LT_HDR_TRANSFER_ENCODING, LT_HDR_X_FORWARDED_PROTO},
};

// `known` has only letters and "-", `name` only token characters: there a difference of nothing but the case bit is one of case.
static bool is_named(struct lt_span name, const char *known) {
    for (size_t i = 0; i < name.n; i++)
        if ((name.p[i] | 0x20) != (known[i] | 0x20))
            return false;
    return true;
}

enum lt_hdr lt_hdr_id(struct lt_span name) {
    if (name.n == 0 || name.n >= sizeof by_length / sizeof *by_length)
        return LT_HDR_OTHER;
    const unsigned char *candidates = by_length[name.n];
    for (unsigned i = 0; i < sizeof by_length[0] && candidates[i]; i++) {
        const char *known = names[candidates[i]].name;
        if (is_named(name, known))
            return (enum lt_hdr)candidates[i];
    }
    return LT_HDR_OTHER;
}

struct lt_span lt_hdr_name(enum lt_hdr id) {
    return lt_span(names[id].name, names[id].n);
}

bool lt_headers_init(struct lt_headers *h, struct lt_arena *arena) {
    *h = (struct lt_headers){.cap = FIRST, .arena = arena};
    h->v = lt_arena_alloc(arena, FIRST * sizeof *h->v);
    return h->v != NULL;
}

struct lt_header *lt_headers_find(const struct lt_headers *h, struct lt_span name) {
    for (struct lt_header *f = h->v; f < h->v + h->n; f++)
        if (!f->dropped && lt_span_eq_nocase(f->name, name))
            return f;
    return NULL;
}

// The old table stays in the arena: it is small, and doubles at most three times.
static bool grow(struct lt_headers *h) {
    unsigned cap = h->cap * 2;
    if (cap > LT_HEADERS_MAX + LT_HEADERS_ADDED)
        cap = LT_HEADERS_MAX + LT_HEADERS_ADDED;
    struct lt_header *v = cap > h->cap ? lt_arena_alloc(h->arena, cap * sizeof *v) : NULL;
    if (!v)
        return false;
    memcpy(v, h->v, h->n * sizeof *v);
    h->v = v;
    h->cap = cap;
    return true;
}

static bool add(struct lt_headers *h, enum lt_hdr id, struct lt_span name, struct lt_span value) {
    if (h->n == h->cap && !grow(h))
        return false;
    h->v[h->n++] = (struct lt_header){.name = name, .value = value, .id = (uint8_t)id};
    h->ids |= 1u << id;
    return true;
}

bool lt_headers_add(struct lt_headers *h, struct lt_span name, struct lt_span value) {
    return add(h, lt_hdr_id(name), name, value);
}

bool lt_headers_add_id(struct lt_headers *h, enum lt_hdr id, struct lt_span value) {
    return add(h, id, lt_hdr_name(id), value);
}

unsigned lt_headers_drop(struct lt_headers *h, enum lt_hdr id) {
    unsigned n = 0;
    for (struct lt_header *f = NULL; (f = lt_headers_next(h, id, f)); n++)
        f->dropped = true;
    return n;
}

// Eight bytes at once: a visible character, obs-text or SP each? Where it says no, they are looked at one by one: HTAB is
// allowed too, and a carry from 0xff makes it err on that side.
static inline bool word_is_plain(const char *p) {
    const uint64_t ones = 0x0101010101010101, tops = 0x8080808080808080;
    uint64_t x;
    memcpy(&x, p, sizeof x);
    return !(((x - 0x20 * ones) | (x + ones)) & ~x & tops); // no byte below 0x20, and no 0x7f, which becomes 0x80
}

bool lt_field_value_ok(struct lt_span value) {
    size_t i = 0;
    while (value.n - i >= 8 && word_is_plain(value.p + i))
        i += 8;
    if (value.n >= 8 && value.n - i < 8 && word_is_plain(value.p + value.n - 8))
        return true;
    for (; i < value.n; i++)
        if (!lt_char_is(value.p[i], LT_CHAR_VALUE))
            return false;
    return true;
}

bool lt_token_ok(struct lt_span token) {
    for (size_t i = 0; i < token.n; i++)
        if (!lt_char_is(token.p[i], LT_CHAR_TOKEN))
            return false;
    return token.n > 0;
}
