// SPDX-License-Identifier: Apache-2.0
// A chunked body from a peer. The first byte: the pieces in which it comes.
//   cut anywhere, it gives the same data, the same trailers, the same end; data lies within the input;
//   what was read is written anew chunk by chunk and read again: the same.
#include "http/h1_body.h"
#include "http/h1_write.h"
#include "tests/fuzz/check.h"

enum { DATA_MAX = 1 << 20 };

struct reading {
    struct lt_arena arena;
    struct lt_body body;
    enum lt_body_status status;
    struct lt_buf data, anew; // the data; the same with frames of ours
    size_t taken;
};

static void take(struct reading *r, struct lt_span data) {
    char head[20];
    CHECK(data.n > 0);
    CHECK(lt_buf_append(&r->data, data));
    CHECK(lt_buf_append(&r->anew, lt_span(head, lt_h1_chunk_head(head, data.n))));
    CHECK(lt_buf_append(&r->anew, data) && lt_buf_append(&r->anew, LT_S("\r\n")));
}

static void give(struct reading *r, struct lt_span piece) {
    struct lt_span in = piece, data;
    while ((r->status = lt_body_read(&r->body, &in, &data)) == LT_BODY_DATA) {
        CHECK(is_inside(data, piece) && data.p + data.n <= in.p);
        take(r, data);
    }
    CHECK(r->status != LT_BODY_MORE || in.n == 0);
    CHECK(lt_body_done(&r->body) == (r->status == LT_BODY_END));
    r->taken += piece.n - in.n;
}

static void read_body(struct reading *r, struct lt_span text, size_t step) {
    const struct lt_framing f = {.kind = LT_BODY_CHUNKED};
    *r = (struct reading){.status = LT_BODY_MORE};
    lt_arena_init(&r->arena, 1 << 18);
    lt_body_init(&r->body, &f, &r->arena);
    lt_buf_init(&r->data, DATA_MAX);
    lt_buf_init(&r->anew, 8 * DATA_MAX);
    for (size_t at = 0; at < text.n && r->status == LT_BODY_MORE; at += step)
        give(r, lt_span(text.p + at, step < text.n - at ? step : text.n - at));
}

static void leave(struct reading *r) {
    lt_buf_fini(&r->data);
    lt_buf_fini(&r->anew);
    lt_body_fini(&r->body);
    lt_arena_fini(&r->arena);
}

static void check_same(const struct reading *a, const struct reading *b) {
    const struct lt_headers *x = &a->body.trailers, *y = &b->body.trailers;
    CHECK(a->status == b->status && a->body.reason == b->body.reason);
    CHECK(lt_span_eq(lt_buf_span(&a->data), lt_buf_span(&b->data)) && x->n == y->n);
    for (unsigned i = 0; i < x->n; i++)
        CHECK(lt_span_eq(x->v[i].name, y->v[i].name) && lt_span_eq(x->v[i].value, y->v[i].value));
}

static void check_trailers(const struct lt_headers *t) {
    for (unsigned i = 0; i < t->n; i++) {
        CHECK(lt_token_ok(t->v[i].name) && lt_field_value_ok(t->v[i].value));
        CHECK(t->v[i].id == LT_HDR_OTHER || t->v[i].id == LT_HDR_DATE);
    }
}

static void check_again(struct reading *r) {
    struct reading again;
    CHECK(lt_h1_write_last_chunk(&r->anew, &r->body.trailers));
    struct lt_span text = lt_buf_span(&r->anew);
    read_body(&again, text, text.n);
    if (again.body.reason != LT_H1_TRAILER) // ours are longer by a blank a line: they may pass the limit
        check_same(r, &again);
    else
        CHECK(text.n > 8192);
    CHECK(again.status != LT_BODY_END || again.taken == text.n);
    leave(&again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct reading whole, pieces;
    if (size < 2)
        return 0;
    struct lt_span text = lt_span((const char *)data + 1, size - 1);
    read_body(&whole, text, text.n);
    read_body(&pieces, text, 1 + data[0] % 16);
    check_same(&whole, &pieces);
    CHECK(whole.status == LT_BODY_BAD || whole.taken == pieces.taken);
    leave(&pieces);
    check_trailers(&whole.body.trailers);
    if (whole.status == LT_BODY_END)
        check_again(&whole);
    leave(&whole);
    return 0;
}
