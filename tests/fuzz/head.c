// SPDX-License-Identifier: Apache-2.0
// A head from a peer. The first byte: bit 0 a response, bits 1-2 its request's method, the rest the pieces in which it comes.
//   cut anywhere, it is read the same; what is taken out of it lies within it;
//   what is written anew is read again with the same fields and the same framing, and with one framing only.
#include "http/h1_write.h"
#include "tests/fuzz/check.h"

enum { HEAD_MAX = 16 << 10 };

struct message {
    struct lt_arena arena;
    struct lt_h1_parser parser;
    struct lt_h1_head head;
    enum lt_h1_status status;
};

static void parse(struct message *m, struct lt_span text, bool response, size_t first, size_t step) {
    lt_arena_init(&m->arena, 1 << 17);
    CHECK(lt_h1_parser_init(&m->parser, &m->head, &m->arena, response, HEAD_MAX));
    size_t n = first < text.n ? first : text.n;
    while ((m->status = lt_h1_parse(&m->parser, &m->head, text.p, n)) == LT_H1_MORE && n < text.n)
        n = step < text.n - n ? n + step : text.n;
}

static void check_same(const struct message *a, const struct message *b) {
    const struct lt_headers *x = &a->head.headers, *y = &b->head.headers;
    CHECK(a->status == b->status && a->parser.reason == b->parser.reason);
    CHECK(a->parser.version_known == b->parser.version_known);
    if (a->status != LT_H1_DONE)
        return;
    CHECK(a->head.size == b->head.size && a->head.status == b->head.status && a->head.minor == b->head.minor);
    CHECK(lt_span_eq(a->head.path, b->head.path) && lt_span_eq(a->head.host, b->head.host) && x->n == y->n);
    for (unsigned i = 0; i < x->n; i++)
        CHECK(lt_span_eq(x->v[i].raw, y->v[i].raw) && lt_span_eq(x->v[i].name, y->v[i].name) &&
              lt_span_eq(x->v[i].value, y->v[i].value) && x->v[i].id == y->v[i].id);
}

static void check_clean(struct lt_span s) {
    for (size_t i = 0; i < s.n; i++)
        CHECK(s.p[i] != '\r' && s.p[i] != '\n' && s.p[i] != '\0');
}

static void check_fields(const struct lt_h1_head *head, struct lt_span text) {
    const struct lt_span in = lt_span(text.p, head->size);
    CHECK(head->size <= text.n && head->headers.n <= LT_HEADERS_MAX);
    CHECK(head->size >= 4 && memcmp(text.p + head->size - 4, "\r\n\r\n", 4) == 0);
    check_clean(head->path);
    check_clean(head->host);
    for (unsigned i = 0; i < head->headers.n; i++) {
        const struct lt_header *f = &head->headers.v[i];
        CHECK(is_inside(f->raw, in) && is_inside(f->name, f->raw) && is_inside(f->value, f->raw));
        CHECK(i == 0 || f->raw.p == f[-1].raw.p + f[-1].raw.n);
        CHECK(lt_token_ok(f->name) && lt_field_value_ok(f->value));
        check_clean(f->value);
    }
}

static const struct lt_header *next_kept(const struct lt_headers *h, unsigned *i, bool skip_host) {
    while (*i < h->n && (h->v[*i].dropped || (skip_host && h->v[*i].id == LT_HDR_HOST)))
        ++*i;
    return *i < h->n ? &h->v[(*i)++] : NULL;
}

// The fields that passed stand in the new head in their order; behind them, only framing.
static void check_passed(const struct lt_headers *from, const struct lt_headers *to, bool request) {
    unsigned i = 0, j = 0;
    const struct lt_header *f, *g;
    while ((f = next_kept(from, &i, request))) {
        g = next_kept(to, &j, request);
        CHECK(g && lt_span_eq(f->name, g->name) && lt_span_eq(f->value, g->value));
    }
    while ((g = next_kept(to, &j, request)))
        CHECK(g->id == LT_HDR_CONTENT_LENGTH || g->id == LT_HDR_TRANSFER_ENCODING || g->id == LT_HDR_CONNECTION ||
              g->id == LT_HDR_UPGRADE);
    const struct lt_header *length = lt_headers_get(to, LT_HDR_CONTENT_LENGTH),
                           *te = lt_headers_get(to, LT_HDR_TRANSFER_ENCODING);
    CHECK(!length || (!te && !lt_headers_next(to, LT_HDR_CONTENT_LENGTH, length)));
    CHECK(!te || !lt_headers_next(to, LT_HDR_TRANSFER_ENCODING, te));
}

static enum lt_h1_reason read_framing(const struct lt_h1_head *head, bool response, enum lt_method method,
                                      struct lt_framing *f) {
    return response ? lt_framing_response(head, method, f) : lt_framing_request(head, f);
}

static void check_rewritten(struct message *m, bool response, enum lt_method method) {
    struct lt_framing f, again;
    struct message copy;
    struct lt_buf out;
    if (read_framing(&m->head, response, method, &f) != LT_H1_OK)
        return;
    CHECK(f.kind != LT_BODY_LENGTH || (f.length > 0 && f.length <= INT64_MAX));
    CHECK(response || f.kind != LT_BODY_CLOSE);
    CHECK(!f.upgrade || f.kind == LT_BODY_NONE);
    if (!response && m->head.host.n == 0)
        return; // HTTP/1.0 without Host: the empty one that it goes on with is nothing that a client may send us
    struct lt_h1_out how = {.kind = f.kind, .length = f.length, .upgrade = f.upgrade_protocol};
    if (response && f.kind == LT_BODY_NONE && method != LT_METHOD_HEAD && m->head.status >= 200 &&
        m->head.status != 204 && m->head.status != 304)
        how.kind = LT_BODY_LENGTH; // without "Content-Length: 0" the body would last until the connection closes
    lt_framing_strip(&m->head.headers);
    lt_buf_init(&out, 4 * HEAD_MAX);
    CHECK(response ? lt_h1_write_response(&out, &m->head, &how) : lt_h1_write_request(&out, &m->head, &how));
    if (out.len <= HEAD_MAX) {
        parse(&copy, lt_buf_span(&out), response, out.len, 1);
        if (copy.status == LT_H1_BAD && copy.parser.reason == LT_H1_TOO_MANY) // our own lines came on top
            goto done;
        CHECK(copy.status == LT_H1_DONE && copy.head.size == out.len);
        CHECK(lt_span_eq(copy.head.method_text, m->head.method_text) && copy.head.status == m->head.status);
        CHECK(lt_span_eq(copy.head.path, m->head.path) && lt_span_eq(copy.head.host, m->head.host));
        check_passed(&m->head.headers, &copy.head.headers, !response);
        CHECK(read_framing(&copy.head, response, method, &again) == LT_H1_OK);
        CHECK(again.kind == f.kind && again.upgrade == f.upgrade && !again.expect_continue);
        CHECK(f.kind != LT_BODY_LENGTH || again.length == f.length);
    done:
        lt_arena_fini(&copy.arena);
    }
    lt_buf_fini(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static const enum lt_method methods[] = {LT_METHOD_GET, LT_METHOD_HEAD, LT_METHOD_POST, LT_METHOD_OTHER};
    struct message whole, pieces;
    if (size < 1)
        return 0;
    bool response = data[0] & 1;
    size_t step = 1 + (data[0] >> 3);
    struct lt_span text = lt_span((const char *)data + 1, size - 1);
    parse(&whole, text, response, text.n, 1);
    parse(&pieces, text, response, step, step);
    check_same(&whole, &pieces);
    lt_arena_fini(&pieces.arena);
    parse(&pieces, text, response, text.n * step / 33, text.n);
    check_same(&whole, &pieces);
    lt_arena_fini(&pieces.arena);
    if (whole.status == LT_H1_DONE) {
        check_fields(&whole.head, text);
        check_rewritten(&whole, response, methods[data[0] >> 1 & 3]);
    }
    lt_arena_fini(&whole.arena);
    return 0;
}
