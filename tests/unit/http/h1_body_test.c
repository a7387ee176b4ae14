// SPDX-License-Identifier: Apache-2.0
#include "http/h1_body.h"

#include "tests/rig/leaks.h"
#include "tests/unit/http/split.h"

#include <stdlib.h>

TestSuite(h1_body, .fini = lt_rig_leaks);

struct reading {
    struct lt_body body;
    struct lt_arena arena;
    enum lt_body_status status;
    size_t taken;
};

// Gives one piece in a block of its own that is gone afterwards: neither an overrun nor a kept address goes unseen.
static void give(struct reading *r, struct lt_buf *out, struct lt_span piece) {
    char *copy = malloc(piece.n ? piece.n : 1);
    if (piece.n)
        memcpy(copy, piece.p, piece.n);
    struct lt_span in = lt_span(copy, piece.n), data;
    while ((r->status = lt_body_read(&r->body, &in, &data)) == LT_BODY_DATA) {
        cr_assert(data.n > 0 && data.p >= copy && data.p + data.n <= in.p && in.p <= copy + piece.n);
        cr_assert(lt_buf_append(out, data));
    }
    if (r->status == LT_BODY_MORE)
        cr_assert_eq(in.n, 0, "MORE: all input was taken");
    cr_assert_eq(lt_body_done(&r->body), r->status == LT_BODY_END);
    r->taken += piece.n - in.n;
    free(copy);
}

static void print_end(struct reading *r, struct lt_buf *out, struct lt_span rest) {
    const struct lt_headers *t = &r->body.trailers;
    if (r->status == LT_BODY_BAD)
        cr_assert(lt_buf_printf(out, "|%s", lt_h1_reason_name(r->body.reason)));
    else if (r->status == LT_BODY_MORE)
        cr_assert(lt_buf_append(out, LT_S("|more")));
    else
        cr_assert(lt_buf_printf(out, "|end%s%.*s%s", rest.n ? " <" : "", (int)rest.n, rest.p, rest.n ? ">" : ""));
    for (unsigned i = 0; i < t->n && r->status == LT_BODY_END; i++)
        cr_assert(lt_buf_printf(out, " %.*s=[%.*s]", (int)t->v[i].name.n, t->v[i].name.p, (int)t->v[i].value.n,
                                t->v[i].value.p));
}

// "data|end <what is left> trailers", "data|more" or "data|reason".
static void read_body(struct lt_buf *out, struct lt_span text, size_t first, size_t step, const void *context) {
    const struct lt_framing *f = context;
    struct reading r = {.status = LT_BODY_MORE};
    lt_arena_init(&r.arena, 1 << 16);
    lt_body_init(&r.body, f, &r.arena);
    for (size_t at = 0, n = first; r.status == LT_BODY_MORE; at += n, n = step) {
        n = n < text.n - at ? n : text.n - at;
        give(&r, out, lt_span(text.p + at, n));
        if (at + n == text.n)
            break;
    }
    enum lt_body_status last = r.status;
    give(&r, out, LT_S("")); // nothing more: the same again
    cr_assert_eq(r.status, last);
    if (last == LT_BODY_END) {
        size_t taken = r.taken;
        give(&r, out, LT_S("more"));
        cr_assert(r.status == LT_BODY_END && r.taken == taken, "after END nothing more is taken");
    }
    print_end(&r, out, lt_span(text.p + r.taken, text.n - r.taken));
    lt_body_fini(&r.body);
    lt_arena_fini(&r.arena);
}

struct row {
    struct lt_span in;
    const char *out;
};

#define ROW(in, out)                                                                                                   \
    { {in, sizeof(in) - 1}, out }

static const struct lt_framing chunked = {.kind = LT_BODY_CHUNKED};

static void check_chunked(const struct row *rows, size_t n) {
    for (size_t i = 0; i < n; i++)
        split_check(read_body, rows[i].in, rows[i].out, &chunked);
}

Test(h1_body, none_length_and_close) {
    const struct lt_framing none = {.kind = LT_BODY_NONE}, five = {.kind = LT_BODY_LENGTH, .length = 5},
                            until = {.kind = LT_BODY_CLOSE};
    split_check(read_body, LT_S("abc"), "|end <abc>", &none);
    split_check(read_body, LT_S(""), "|end", &none);
    split_check(read_body, LT_S("hello"), "hello|end", &five);
    split_check(read_body, LT_S("hello world"), "hello|end < world>", &five);
    split_check(read_body, LT_S("hell"), "hell|more", &five);
    split_check(read_body, LT_S(""), "|more", &five);
    split_check(read_body, LT_S("all of it"), "all of it|more", &until);
}

Test(h1_body, a_body_that_was_never_begun_is_done) {
    const struct lt_body b = {0};
    cr_assert(lt_body_done(&b));
}

Test(h1_body, the_largest_length) {
    const struct lt_framing f = {.kind = LT_BODY_LENGTH, .length = INT64_MAX};
    split_check(read_body, LT_S("some"), "some|more", &f);
}

Test(h1_body, chunks) {
    static const struct row rows[] = {
        ROW("0\r\n\r\n", "|end"),
        ROW("5\r\nhello\r\n0\r\n\r\n", "hello|end"),
        ROW("5\r\nhello\r\n1\r\n \r\n5\r\nworld\r\n0\r\n\r\nGET /", "hello world|end <GET />"),
        ROW("a\r\n0123456789\r\n0\r\n\r\n", "0123456789|end"),
        ROW("A\r\n0123456789\r\n0\r\n\r\n", "0123456789|end"),
        ROW("005\r\nhello\r\n000\r\n\r\n", "hello|end"),
        ROW("000000000000005\r\nhello\r\n0\r\n\r\n", "hello|end"),
        ROW("4\r\n\r\n\r\n\r\n0\r\n\r\n", "\r\n\r\n|end"),
        ROW("5;a\r\nhello\r\n0;b=c\r\n\r\n", "hello|end"),
        ROW("5;a=\"b;c\";d\te\r\nhello\r\n0\r\n\r\n", "hello|end"),
        ROW("5;\r\nhello\r\n0\r\n\r\n", "hello|end"),
        ROW("5\r\nhel", "hel|more"),
        ROW("5\r\nhello", "hello|more"),
        ROW("5\r\nhello\r\n0\r\n", "hello|more"),
        ROW("5\r\nhello\r\n0\r\n\r", "hello|more"),
        ROW("fffffffffffffff\r\nx", "x|more"),
    };
    check_chunked(rows, COUNT(rows));
}

// What one parser takes for a size and another does not is where the next request is hidden.
Test(h1_body, chunk_sizes_that_are_refused) {
    static const struct row rows[] = {
        ROW("\r\n", "|chunk-size"),
        ROW("\r\n5\r\nhello\r\n0\r\n\r\n", "|chunk-size"),
        ROW(";a\r\n", "|chunk-size"),
        ROW(" 5\r\nhello\r\n", "|chunk-size"),
        ROW("5 \r\nhello\r\n", "|chunk-size"),
        ROW("5\t\r\nhello\r\n", "|chunk-size"),
        ROW("5 ;a\r\nhello\r\n", "|chunk-size"),
        ROW("+5\r\nhello\r\n", "|chunk-size"),
        ROW("-5\r\nhello\r\n", "|chunk-size"),
        ROW("0x5\r\nhello\r\n", "|chunk-size"),
        ROW("0X5\r\nhello\r\n", "|chunk-size"),
        ROW("5_0\r\nhello\r\n", "|chunk-size"),
        ROW("5h\r\nhello\r\n", "|chunk-size"),
        ROW("5g\r\nhello\r\n", "|chunk-size"),
        ROW("5@\r\nhello\r\n", "|chunk-size"),
        ROW("5`\r\nhello\r\n", "|chunk-size"),
        ROW("5/\r\nhello\r\n", "|chunk-size"),
        ROW("5:\r\nhello\r\n", "|chunk-size"),
        ROW("5,5\r\nhello\r\n", "|chunk-size"),
        ROW("5\0\r\nhello\r\n", "|chunk-size"),
        ROW("\xb5\r\nhello\r\n", "|chunk-size"),
        ROW("0000000000000005\r\nhello\r\n", "|chunk-size"),
        ROW("1000000000000000\r\n", "|chunk-size"),
        ROW("10000000000000005\r\nhello\r\n", "|chunk-size"),
        ROW("ffffffffffffffff\r\n", "|chunk-size"),
        ROW("5\r\nhello\r\n\r\n", "hello|chunk-size"),
    };
    check_chunked(rows, COUNT(rows));
}

Test(h1_body, line_ends_that_are_refused) {
    static const struct row rows[] = {
        ROW("5\nhello\r\n0\r\n\r\n", "|bare-lf"),
        ROW("\nhello", "|bare-lf"),
        ROW("5;a\nhello\r\n", "|bare-lf"),
        ROW("5\rhello\r\n", "|bare-cr"),
        ROW("5\r\r\nhello\r\n", "|bare-cr"),
        ROW("5;a\rb\r\nhello\r\n", "|bare-cr"),
        ROW("0\n\r\n", "|bare-lf"),
        ROW("0\r\n\n", "|bare-lf"),
        ROW("0\r\nA: b\n\r\n", "|bare-lf"),
        ROW("5\r\nhello\n0\r\n\r\n", "hello|chunk-end"),
        ROW("5\r\nhello\n\n0\r\n\r\n", "hello|chunk-end"),
        ROW("5\r\nhellox\n0\r\n\r\n", "hello|chunk-end"),
        ROW("5\r\nhello\r0\r\n\r\n", "hello|chunk-end"),
        ROW("5\r\nhello0\r\n\r\n", "hello|chunk-end"),
        ROW("5\r\nhello \r\n0\r\n\r\n", "hello|chunk-end"),
        ROW("5\r\nhelloo\r\n0\r\n\r\n", "hello|chunk-end"),
    };
    check_chunked(rows, COUNT(rows));
}

Test(h1_body, extensions_that_are_refused) {
    static const struct row rows[] = {
        ROW("5;a\0b\r\nhello\r\n", "|chunk-ext"),
        ROW("5;a\x7f\r\nhello\r\n", "|chunk-ext"),
        ROW("5;\x01\r\nhello\r\n", "|chunk-ext"),
        ROW("5;a\v\r\nhello\r\n", "|chunk-ext"),
    };
    check_chunked(rows, COUNT(rows));
}

// The longest extension is 4096 bytes; each chunk counts its own.
Test(h1_body, the_extension_is_limited_to_the_byte) {
    for (size_t n = 4095; n <= 4097; n++) {
        struct lt_buf text, out;
        lt_buf_init(&text, 1 << 15);
        lt_buf_init(&out, 1 << 15);
        for (int i = 0; i < 2; i++) {
            cr_assert(lt_buf_append(&text, LT_S("1;")));
            char *at = lt_buf_reserve(&text, n);
            memset(at, 'e', n);
            lt_buf_grew(&text, n);
            cr_assert(lt_buf_append(&text, LT_S("\r\nx\r\n")));
        }
        for (size_t step = 1; step < 10000; step *= 7) {
            read_body(&out, lt_buf_span(&text), step, step, &chunked);
            const char *want = n <= 4096 ? "xx|more" : "|chunk-ext";
            cr_assert(lt_span_eq(lt_buf_span(&out), lt_span_cstr(want)), "%zu: %.*s", n, (int)out.len, out.p);
            lt_buf_consume(&out, out.len);
        }
        lt_buf_fini(&text);
        lt_buf_fini(&out);
    }
}

Test(h1_body, trailers) {
    static const struct row rows[] = {
        ROW("0\r\nA: b\r\n\r\n", "|end A=[b]"),
        ROW("1\r\nx\r\n0\r\nA: b\r\nX-Sum:\t c d \r\nE:\r\n\r\nGET", "x|end <GET> A=[b] X-Sum=[c d] E=[]"),
        ROW("0\r\nA: b\r\na: c\r\n\r\n", "|end A=[b] a=[c]"),
        ROW("0\r\nDate: x\r\n\r\n", "|end Date=[x]"),
        ROW("0\r\nContent-Length: 5\r\nHost: x\r\nA: b\r\ntransfer-encoding: chunked\r\n\r\n", "|end A=[b]"),
        ROW("0\r\nCookie: a=b\r\nSet-Cookie: a=b\r\nAUTHORIZATION: x\r\n\r\n", "|end"),
        ROW("0\r\nContent-Type: x\r\nContent-Encoding: y\r\nContent-Range: z\r\nTrailer: A\r\nTE: x\r\n\r\n", "|end"),
        ROW("0\r\nConnection: close\r\nExpect: x\r\nUpgrade: y\r\nKeep-Alive: 1\r\nLocation: /\r\n\r\n", "|end"),
        ROW("0\r\nX-Forwarded-For: x\r\nX-Forwarded-Port: 1\r\nForwarded: for=x\r\nVia: y\r\nX-Request-Id: z\r\n\r\n",
            "|end"),
        ROW("0\r\nIf-Match: x\r\nIf-None-Match: x\r\nRange: x\r\nMax-Forwards: 1\r\n\r\n", "|end"),
        ROW("0\r\nAge: 1\r\nExpires: 0\r\nVary: *\r\nCache-Control: no-store\r\nRetry-After: 1\r\n\r\n", "|end"),
    };
    check_chunked(rows, COUNT(rows));
}

Test(h1_body, trailers_that_are_refused) {
    static const struct row rows[] = {
        ROW("0\r\nA\r\n\r\n", "|trailer"),
        ROW("0\r\n: b\r\n\r\n", "|trailer"),
        ROW("0\r\nA : b\r\n\r\n", "|trailer"),
        ROW("0\r\n A: b\r\n\r\n", "|trailer"),
        ROW("0\r\nA: b\r\n c\r\n\r\n", "|trailer"),
        ROW("0\r\nA: b\0\r\n\r\n", "|trailer"),
        ROW("0\r\nA: b\rC: d\r\n\r\n", "|trailer"),
        ROW("0\r\nContent-Length : 5\r\n\r\n", "|trailer"),
        ROW("0\r\nCookie: \x01\r\n\r\n", "|trailer"),
        ROW("0\r\n\r\r\n", "|trailer"),
        ROW("0\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", "|trailer"),
    };
    check_chunked(rows, COUNT(rows));
}

// One long line, and many short ones: 8 KB is the most, with the empty line.
Test(h1_body, trailers_are_limited_to_the_byte) {
    for (size_t n = 8191; n <= 8193; n++)
        for (size_t line = 100; line <= 8200; line += 8100) {
            struct lt_buf text, out;
            lt_buf_init(&text, 1 << 15);
            lt_buf_init(&out, 1 << 16);
            cr_assert(lt_buf_append(&text, LT_S("0\r\n")));
            for (size_t left = n - 2; left;) {
                size_t take = left < line + 10 ? left : line;
                cr_assert(lt_buf_append(&text, LT_S("A:")));
                char *at = lt_buf_reserve(&text, take - 4);
                memset(at, 'v', take - 4);
                lt_buf_grew(&text, take - 4);
                cr_assert(lt_buf_append(&text, LT_S("\r\n")));
                left -= take;
            }
            cr_assert(lt_buf_append(&text, LT_S("\r\n")));
            cr_assert_eq(text.len, n + 3);
            for (size_t step = 1; step < 20000; step *= 9) {
                read_body(&out, lt_buf_span(&text), step, step, &chunked);
                const char *want = n <= 8192 ? "|end" : "|trailer";
                cr_assert(lt_span_starts(lt_buf_span(&out), lt_span_cstr(want)), "%zu, lines of %zu, step %zu: %.30s",
                          n, line, step, out.p);
                lt_buf_consume(&out, out.len);
            }
            lt_buf_fini(&text);
            lt_buf_fini(&out);
        }
}

Test(h1_body, no_memory_for_trailers_is_told) {
    struct lt_arena arena;
    struct lt_body b;
    struct lt_span in = LT_S("0\r\nA: b\r\n\r\n"), data;
    lt_arena_init(&arena, 16);
    lt_body_init(&b, &chunked, &arena);
    cr_assert_eq(lt_body_read(&b, &in, &data), LT_BODY_BAD);
    cr_assert_eq(b.reason, LT_H1_MEMORY);
    lt_body_fini(&b);
    lt_arena_fini(&arena);
}
