// SPDX-License-Identifier: Apache-2.0
#include "http/h1_write.h"

#include "tests/rig/leaks.h"
#include "tests/unit/http/split.h"

TestSuite(h1_write, .fini = lt_rig_leaks);

struct message {
    struct lt_arena arena;
    struct lt_h1_head head;
    struct lt_buf out;
};

static void parse(struct message *m, bool response, struct lt_span text) {
    struct lt_h1_parser p;
    lt_arena_init(&m->arena, 1 << 16);
    lt_buf_init(&m->out, 1 << 16);
    cr_assert(lt_h1_parser_init(&p, &m->head, &m->arena, response, 1 << 15));
    cr_assert_eq(lt_h1_parse(&p, &m->head, text.p, text.n), LT_H1_DONE, "%s: %s", lt_h1_reason_name(p.reason), text.p);
}

static void expect(struct message *m, const char *want) {
    struct lt_span got = lt_buf_span(&m->out);
    cr_assert(lt_span_eq(got, lt_span_cstr(want)), "got:\n%.*s\nwanted:\n%s", (int)got.n, got.p, want);
    lt_buf_consume(&m->out, got.n);
}

static void leave(struct message *m) {
    lt_buf_fini(&m->out);
    lt_arena_fini(&m->arena);
}

static const struct lt_h1_out plain = {.kind = LT_BODY_NONE};

Test(h1_write, untouched_lines_stay_as_they_came) {
    struct message m;
    parse(&m, false, LT_S("GET /a HTTP/1.1\r\nx-UPPER:a\r\nX-B: \t b \t\r\nHost:h\r\nX-C:\r\nX-C: \xe9\r\n\r\n"));
    cr_assert(lt_h1_write_request(&m.out, &m.head, &plain));
    expect(&m, "GET /a HTTP/1.1\r\nHost: h\r\nx-UPPER:a\r\nX-B: \t b \t\r\nX-C:\r\nX-C: \xe9\r\n\r\n");
    leave(&m);
}

// Every subset of five fields dropped: runs begin and end where they should.
Test(h1_write, any_fields_dropped) {
    struct message m;
    parse(&m, true, LT_S("HTTP/1.1 200 OK\r\nA: 0\r\nB: 1\r\nC: 2\r\nD: 3\r\nE: 4\r\n\r\n"));
    for (unsigned dropped = 0; dropped < 32; dropped++)
        for (unsigned set = 0; set < 32; set++) {
            char want[128] = "HTTP/1.1 200 OK\r\n";
            struct lt_header copy[5];
            memcpy(copy, m.head.headers.v, sizeof copy);
            for (unsigned i = 0; i < 5; i++) {
                struct lt_header *f = &m.head.headers.v[i];
                f->dropped = dropped >> i & 1;
                if (set >> i & 1)
                    lt_header_set(f, LT_S("new"));
                if (!f->dropped)
                    snprintf(want + strlen(want), sizeof want - strlen(want), "%.1s: %.*s\r\n", f->name.p,
                             (int)f->value.n, f->value.p);
            }
            strcat(want, "\r\n");
            cr_assert(lt_h1_write_response(&m.out, &m.head, &plain));
            expect(&m, want);
            memcpy(m.head.headers.v, copy, sizeof copy);
        }
    leave(&m);
}

Test(h1_write, added_fields_stand_behind) {
    struct message m;
    parse(&m, false, LT_S("GET / HTTP/1.1\r\nHost: h\r\nA: 1\r\n\r\n"));
    cr_assert(lt_headers_add(&m.head.headers, LT_S("Via"), LT_S("1.1 lethe")));
    cr_assert(lt_headers_add(&m.head.headers, LT_S("Empty"), LT_S("")));
    cr_assert(lt_h1_write_request(&m.out, &m.head, &plain));
    expect(&m, "GET / HTTP/1.1\r\nHost: h\r\nA: 1\r\nVia: 1.1 lethe\r\nEmpty: \r\n\r\n");
    leave(&m);
}

Test(h1_write, request_lines) {
    static const struct {
        const char *in, *out;
    } rows[] = {
        {"GET http://H:80/a?b HTTP/1.1\r\nHost: h:80\r\n\r\n", "GET /a?b HTTP/1.1\r\nHost: H:80\r\n\r\n"},
        {"OPTIONS http://h HTTP/1.1\r\nHost: h\r\n\r\n", "OPTIONS * HTTP/1.1\r\nHost: h\r\n\r\n"},
        {"GET http://h?q HTTP/1.1\r\nHost: h\r\n\r\n", "GET /?q HTTP/1.1\r\nHost: h\r\n\r\n"},
        {"GET / HTTP/1.0\r\nHost: h\r\n\r\n", "GET / HTTP/1.1\r\nHost: h\r\n\r\n"},
        {"GET / HTTP/1.0\r\n\r\n", "GET / HTTP/1.1\r\nHost: \r\n\r\n"},
        {"post / HTTP/1.1\r\nHost: h\r\n\r\n", "post / HTTP/1.1\r\nHost: h\r\n\r\n"},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct message m;
        parse(&m, false, lt_span_cstr(rows[i].in));
        cr_assert(lt_h1_write_request(&m.out, &m.head, &plain));
        expect(&m, rows[i].out);
        leave(&m);
    }
}

Test(h1_write, request_framing) {
    static const struct {
        const char *method;
        struct lt_h1_out how;
        const char *framing;
    } rows[] = {
        {"GET", {.kind = LT_BODY_NONE}, ""},
        {"DELETE", {.kind = LT_BODY_NONE}, ""},
        {"POST", {.kind = LT_BODY_NONE}, "Content-Length: 0\r\n"},
        {"PUT", {.kind = LT_BODY_NONE}, "Content-Length: 0\r\n"},
        {"PATCH", {.kind = LT_BODY_NONE}, "Content-Length: 0\r\n"},
        {"GET", {.kind = LT_BODY_LENGTH, .length = 5}, "Content-Length: 5\r\n"},
        {"POST", {.kind = LT_BODY_LENGTH, .length = INT64_MAX}, "Content-Length: 9223372036854775807\r\n"},
        {"POST", {.kind = LT_BODY_CHUNKED}, "Transfer-Encoding: chunked\r\n"},
        {"GET", {.close = true}, "Connection: close\r\n"},
        {"GET", {.upgrade = {"websocket", 9}}, "Connection: upgrade\r\nUpgrade: websocket\r\n"},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct message m;
        char in[64], want[160];
        snprintf(in, sizeof in, "%s / HTTP/1.1\r\nHost: h\r\n\r\n", rows[i].method);
        snprintf(want, sizeof want, "%s / HTTP/1.1\r\nHost: h\r\n%s\r\n", rows[i].method, rows[i].framing);
        parse(&m, false, lt_span_cstr(in));
        cr_assert(lt_h1_write_request(&m.out, &m.head, &rows[i].how));
        expect(&m, want);
        leave(&m);
    }
}

Test(h1_write, responses) {
    static const struct {
        const char *in;
        struct lt_h1_out how;
        const char *out;
    } rows[] = {
        {"HTTP/1.1 200 Fine\r\n\r\n", {.kind = LT_BODY_NONE}, "HTTP/1.1 200 Fine\r\n\r\n"},
        {"HTTP/1.0 404\r\n\r\n", {.kind = LT_BODY_NONE}, "HTTP/1.1 404 Not Found\r\n\r\n"},
        {"HTTP/1.1 299\r\n\r\n", {.kind = LT_BODY_NONE}, "HTTP/1.1 299 \r\n\r\n"},
        {"HTTP/1.1 999 x\r\nHost: odd\r\n\r\n", {.kind = LT_BODY_NONE}, "HTTP/1.1 999 x\r\nHost: odd\r\n\r\n"},
        {"HTTP/1.1 200 OK\r\n\r\n", {.kind = LT_BODY_LENGTH, .length = 0}, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"},
        {"HTTP/1.1 200 OK\r\n\r\n", {.kind = LT_BODY_CHUNKED}, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"},
        {"HTTP/1.1 200 OK\r\n\r\n", {.kind = LT_BODY_CLOSE, .close = true}, "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n"},
        {"HTTP/1.1 200 OK\r\n\r\n", {.keep_alive = true}, "HTTP/1.1 200 OK\r\nConnection: keep-alive\r\n\r\n"},
        {"HTTP/1.1 304 Not Modified\r\n\r\n",
         {.kind = LT_BODY_LENGTH, .length = 7, .head_length = true},
         "HTTP/1.1 304 Not Modified\r\nContent-Length: 7\r\n\r\n"},
        {"HTTP/1.1 101 Switching Protocols\r\n\r\n",
         {.upgrade = {"websocket", 9}},
         "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n"},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct message m;
        parse(&m, true, lt_span_cstr(rows[i].in));
        cr_assert(lt_h1_write_response(&m.out, &m.head, &rows[i].how));
        expect(&m, rows[i].out);
        leave(&m);
    }
}

// With everything on and the longest number the reserved room is enough (a sanitizer sees it), and it is appended.
Test(h1_write, everything_at_once) {
    const struct lt_h1_out all = {
        .kind = LT_BODY_LENGTH, .length = UINT64_MAX, .close = true, .keep_alive = true, .upgrade = {"p/1", 3}};
    struct message m;
    parse(&m, false, LT_S("GET / HTTP/1.1\r\nHost: h\r\n\r\n"));
    cr_assert(lt_buf_append(&m.out, LT_S("before")));
    cr_assert(lt_h1_write_request(&m.out, &m.head, &all));
    expect(&m, "beforeGET / HTTP/1.1\r\nHost: h\r\nContent-Length: 18446744073709551615\r\nConnection: close\r\n"
               "Connection: keep-alive\r\nConnection: upgrade\r\nUpgrade: p/1\r\n\r\n");
    leave(&m);
}

Test(h1_write, a_full_buffer_is_told_and_left_as_it_was) {
    struct message m;
    parse(&m, false, LT_S("GET / HTTP/1.1\r\nHost: h\r\n\r\n"));
    m.out.max = 20;
    cr_assert(lt_buf_append(&m.out, LT_S("before")));
    cr_assert_not(lt_h1_write_request(&m.out, &m.head, &plain));
    cr_assert_not(lt_h1_write_response(&m.out, &m.head, &plain));
    cr_assert_not(lt_h1_write_last_chunk(&m.out, &m.head.headers));
    expect(&m, "before");
    leave(&m);
}

Test(h1_write, chunk_heads) {
    char out[20], want[32];
    for (int bit = 0; bit < 64; bit++)
        for (int off = -1; off <= 1; off++) {
            uint64_t n = (UINT64_C(1) << bit) + (uint64_t)off;
            size_t len = lt_h1_chunk_head(out, n);
            snprintf(want, sizeof want, "%llx\r\n", (unsigned long long)n);
            cr_assert(lt_span_eq(lt_span(out, len), lt_span_cstr(want)), "%s", want);
        }
}

Test(h1_write, last_chunks) {
    struct message m;
    struct lt_headers none = {0};
    parse(&m, true, LT_S("HTTP/1.1 200 OK\r\nA: 1\r\nB: 2\r\n\r\n"));
    cr_assert(lt_h1_write_last_chunk(&m.out, &none));
    expect(&m, "0\r\n\r\n");
    m.head.headers.v[0].dropped = true;
    cr_assert(lt_headers_add(&m.head.headers, LT_S("C"), LT_S("3")));
    cr_assert(lt_h1_write_last_chunk(&m.out, &m.head.headers));
    expect(&m, "0\r\nB: 2\r\nC: 3\r\n\r\n");
    leave(&m);
}

// RFC 9110 section 15: every status that it defines has its phrase.
Test(h1_write, reasons) {
    static const short defined[] = {100, 101, 200, 201, 202, 203, 204, 205, 206, 300, 301, 302, 303, 304, 305,
                                    307, 308, 400, 401, 402, 403, 404, 405, 406, 407, 408, 409, 410, 411, 412,
                                    413, 414, 415, 416, 417, 421, 422, 426, 500, 501, 502, 503, 504, 505};
    for (size_t i = 0; i < COUNT(defined); i++)
        cr_assert_gt(lt_http_reason(defined[i]).n, 0, "%d", defined[i]);
    for (int status = 100; status < 1000; status++)
        cr_assert(lt_field_value_ok(lt_http_reason(status)));
    cr_assert(lt_span_eq(lt_http_reason(502), LT_S("Bad Gateway")));
    cr_assert(lt_span_eq(lt_http_reason(431), LT_S("Request Header Fields Too Large")));
    cr_assert_eq(lt_http_reason(299).n, 0);
}
