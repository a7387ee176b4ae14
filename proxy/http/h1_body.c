// SPDX-License-Identifier: Apache-2.0
#include "http/h1_body.h"

#include "http/chars.h"

//   SIZE ─▶ (EXT) ─▶ SIZE_LF ─▶ DATA ─▶ DATA_CR ─▶ DATA_LF ─▶ SIZE …
//                       └─ size 0 ─▶ TRAILER ─▶ END
enum { SIZE, EXT, SIZE_LF, DATA, DATA_CR, DATA_LF, TRAILER, END };

enum { DIGITS_MAX = 15, EXT_MAX = 4096, TRAILERS_MAX = 8192 };

void lt_body_init(struct lt_body *b, const struct lt_framing *f, struct lt_arena *arena) {
    *b = (struct lt_body){.kind = f->kind, .left = f->kind == LT_BODY_LENGTH ? f->length : 0, .arena = arena};
    lt_buf_init(&b->line, TRAILERS_MAX);
}

void lt_body_fini(struct lt_body *b) {
    lt_buf_fini(&b->line);
}

bool lt_body_done(const struct lt_body *b) {
    switch (b->kind) {
    case LT_BODY_NONE:
        return true;
    case LT_BODY_LENGTH:
        return b->left == 0;
    case LT_BODY_CHUNKED:
    default:
        return b->state == END;
    }
}

void lt_body_close(struct lt_body *b) {
    b->state = END;
}

static enum lt_body_status bad(struct lt_body *b, enum lt_h1_reason reason) {
    b->reason = reason;
    return LT_BODY_BAD;
}

static struct lt_span take(struct lt_span *in, size_t n) {
    struct lt_span front = lt_span(in->p, n);
    *in = lt_span(in->p + n, in->n - n);
    return front;
}

static enum lt_body_status slice(struct lt_body *b, struct lt_span *in, struct lt_span *data) {
    size_t n = b->left < in->n ? (size_t)b->left : in->n;
    *data = take(in, n);
    b->left -= n;
    return LT_BODY_DATA;
}

// --- chunked (RFC 9112 section 7.1): nothing but what the grammar says, for the next parser may read the rest differently ---

static unsigned hex_value(char c) {
    return c <= '9' ? (unsigned)(c - '0') : (unsigned)((c | 0x20) - 'a') + 10;
}

static enum lt_h1_reason size_byte(struct lt_body *b, char c) {
    if (lt_char_is(c, LT_CHAR_HEX)) {
        b->left = b->left << 4 | hex_value(c);
        return ++b->digits <= DIGITS_MAX ? LT_H1_OK : LT_H1_CHUNK_SIZE;
    }
    if (c == '\n')
        return LT_H1_BARE_LF;
    if (b->digits == 0 || (c != '\r' && c != ';'))
        return LT_H1_CHUNK_SIZE;
    b->state = c == '\r' ? SIZE_LF : EXT;
    b->extension = 0;
    return LT_H1_OK;
}

static enum lt_h1_reason ext_byte(struct lt_body *b, char c) {
    if (c == '\r') {
        b->state = SIZE_LF;
        return LT_H1_OK;
    }
    if (c == '\n')
        return LT_H1_BARE_LF;
    return lt_char_is(c, LT_CHAR_VALUE) && ++b->extension <= EXT_MAX ? LT_H1_OK : LT_H1_CHUNK_EXT;
}

static enum lt_h1_reason frame_byte(struct lt_body *b, char c) {
    switch (b->state) {
    case SIZE:
        return size_byte(b, c);
    case EXT:
        return ext_byte(b, c);
    case SIZE_LF:
        b->state = b->left ? DATA : TRAILER;
        b->extension = 0; // from here on the bytes of the trailers
        return c == '\n' ? LT_H1_OK : LT_H1_BARE_CR;
    case DATA_CR:
        b->state = DATA_LF;
        return c == '\r' ? LT_H1_OK : LT_H1_CHUNK_END;
    default:
        b->state = SIZE;
        b->digits = 0;
        return c == '\n' ? LT_H1_OK : LT_H1_CHUNK_END;
    }
}

// RFC 9110 section 6.5.1: what decides about framing, routing, identity or the content does not come late.
static bool may_trail(struct lt_span name) {
    static const char *const others[] = {"Authorization",
                                         "Content-Encoding",
                                         "Content-Range",
                                         "Content-Type",
                                         "Cache-Control",
                                         "Max-Forwards",
                                         "Range",
                                         "Proxy-Authorization",
                                         "WWW-Authenticate",
                                         "Proxy-Authenticate",
                                         "Age",
                                         "Expires",
                                         "Vary",
                                         "Retry-After",
                                         "X-Real-IP"};
    static const struct lt_span prefixes[] = {{"If-", 3}, {"X-Forwarded-", 12}};
    enum lt_hdr id = lt_hdr_id(name);
    for (unsigned i = 0; i < sizeof prefixes / sizeof *prefixes; i++)
        if (name.n >= prefixes[i].n && lt_span_eq_nocase(lt_span(name.p, prefixes[i].n), prefixes[i]))
            return false;
    for (unsigned i = 0; i < sizeof others / sizeof *others; i++)
        if (lt_span_eq_nocase(name, lt_span_cstr(others[i])))
            return false;
    return id == LT_HDR_OTHER || id == LT_HDR_DATE;
}

static enum lt_h1_reason add_trailer(struct lt_body *b, struct lt_span line) {
    struct lt_span name, value;
    if (lt_h1_field(line, &name, &value) != LT_H1_OK || b->trailers.n == LT_HEADERS_MAX)
        return LT_H1_TRAILER;
    if (!may_trail(name))
        return LT_H1_OK;
    if (!b->trailers.v && !lt_headers_init(&b->trailers, b->arena))
        return LT_H1_MEMORY;
    name = lt_arena_dup(b->arena, name);
    value = lt_arena_dup(b->arena, value);
    return name.p && value.p && lt_headers_add(&b->trailers, name, value) ? LT_H1_OK : LT_H1_MEMORY;
}

bool lt_body_trailer(struct lt_body *b, struct lt_span line) {
    return add_trailer(b, line) == LT_H1_OK;
}

static enum lt_h1_reason end_trailer_line(struct lt_body *b) {
    struct lt_span line = lt_buf_span(&b->line);
    // NOLINTNEXTLINE(clang-analyzer-core.NullDereference): it holds its LF at the least
    if (line.n < 2 || line.p[line.n - 2] != '\r')
        return LT_H1_BARE_LF;
    line.n -= 2;
    enum lt_h1_reason r = LT_H1_OK;
    if (line.n)
        r = add_trailer(b, line);
    else
        b->state = END;
    lt_buf_consume(&b->line, b->line.len);
    return r;
}

static enum lt_h1_reason trailer_bytes(struct lt_body *b, struct lt_span *in) {
    size_t n = lt_span_find(*in, '\n');
    bool whole = n < in->n;
    struct lt_span piece = take(in, whole ? n + 1 : n);
    b->extension += (unsigned)piece.n;
    if (b->extension > TRAILERS_MAX || !lt_buf_append(&b->line, piece))
        return LT_H1_TRAILER;
    return whole ? end_trailer_line(b) : LT_H1_OK;
}

static enum lt_body_status read_chunked(struct lt_body *b, struct lt_span *in, struct lt_span *data) {
    while (in->n && b->state != END) {
        enum lt_h1_reason r;
        if (b->state == DATA && b->left)
            return slice(b, in, data);
        if (b->state == DATA)
            b->state = DATA_CR;
        r = b->state == TRAILER ? trailer_bytes(b, in) : frame_byte(b, *take(in, 1).p);
        if (r != LT_H1_OK)
            return bad(b, r);
    }
    return b->state == END ? LT_BODY_END : LT_BODY_MORE;
}

enum lt_body_status lt_body_read(struct lt_body *b, struct lt_span *in, struct lt_span *data) {
    if (b->reason != LT_H1_OK)
        return LT_BODY_BAD;
    if (lt_body_done(b))
        return LT_BODY_END;
    if (in->n == 0)
        return LT_BODY_MORE;
    if (b->kind == LT_BODY_LENGTH)
        return slice(b, in, data);
    if (b->kind == LT_BODY_CHUNKED)
        return read_chunked(b, in, data);
    *data = take(in, in->n);
    return LT_BODY_DATA;
}
