// SPDX-License-Identifier: Apache-2.0
#include "http/h1_parse.h"

#include "tests/rig/leaks.h"
#include "tests/unit/http/split.h"

#include <stdlib.h>

TestSuite(h1_parse, .fini = lt_rig_leaks);

struct how {
    bool response;
    size_t max;
};

static const struct how request = {false, 4096}, response = {true, 4096};

static void put(struct lt_buf *out, const char *before, struct lt_span s, const char *after) {
    cr_assert(lt_buf_printf(out, "%s%.*s%s", before, (int)s.n, s.n ? s.p : "", after));
}

static void print_fields(struct lt_buf *out, const struct lt_headers *h) {
    for (unsigned i = 0; i < h->n; i++) {
        const struct lt_header *f = &h->v[i];
        put(out, "", f->name, "=");
        put(out, "[", f->value, "]\n");
        cr_assert(f->raw.n >= 3 && memcmp(f->raw.p + f->raw.n - 2, "\r\n", 2) == 0, "raw is the whole line");
        cr_assert(f->name.p == f->raw.p && f->value.p + f->value.n <= f->raw.p + f->raw.n - 2);
        cr_assert_eq(f->id, lt_hdr_id(f->name));
    }
}

static void print_head(struct lt_buf *out, const struct lt_h1_head *head, const struct how *how, struct lt_span rest) {
    if (how->response) {
        cr_assert(lt_buf_printf(out, "%d 1.%d ", head->status, head->minor));
        put(out, "[", head->reason_phrase, "]");
    } else {
        put(out, "", head->method_text, "");
        put(out, " ", head->path, "");
        put(out, " @", head->host, "");
        cr_assert(lt_buf_printf(out, " 1.%d", head->minor));
        if (head->authority.n) {
            put(out, " (", head->scheme, "");
            put(out, " ", head->authority, ")");
        }
    }
    put(out, rest.n ? " <" : "", rest, rest.n ? ">\n" : "\n");
    print_fields(out, &head->headers);
}

// The bytes behind what was received stand for what is not there yet: line ends that would be taken if they were looked at.
static void read_head(struct lt_buf *out, struct lt_span text, size_t first, size_t step, const void *context) {
    const struct how *how = context;
    struct lt_arena arena;
    struct lt_h1_parser p;
    struct lt_h1_head head;
    enum lt_h1_status status = LT_H1_MORE;
    lt_arena_init(&arena, 1 << 17);
    cr_assert(lt_h1_parser_init(&p, &head, &arena, how->response, how->max));
    char *data = malloc(text.n + 1); // its own block: an overrun is seen
    memset(data, '\n', text.n + 1);
    for (size_t n = first, had = 0; status == LT_H1_MORE && had <= text.n; n += step) {
        n = n < text.n ? n : text.n;
        memcpy(data, text.p, n);
        status = lt_h1_parse(&p, &head, data, n);
        had = n == text.n ? n + 1 : n;
    }
    if (status == LT_H1_DONE)
        print_head(out, &head, how, lt_span(text.p + head.size, text.n - head.size));
    else if (status == LT_H1_MORE)
        cr_assert(lt_buf_append(out, LT_S("more")));
    else
        cr_assert(lt_buf_printf(out, "%s%s", lt_h1_reason_name(p.reason),
                                p.version_known && p.reason == LT_H1_VERSION ? " known" : ""));
    free(data);
    lt_arena_fini(&arena);
}

struct row {
    struct lt_span in;
    const char *out;
};

#define ROW(in, out)                                                                                                   \
    { {in, sizeof(in) - 1}, out }
#define CHECK(rows, how)                                                                                               \
    for (size_t i_ = 0; i_ < COUNT(rows); i_++)                                                                        \
    split_check(read_head, rows[i_].in, rows[i_].out, how)

Test(h1_parse, whole_requests) {
    static const struct row rows[] = {
        ROW("GET / HTTP/1.1\r\nHost: a\r\n\r\n", "GET / @a 1.1\nHost=[a]\n"),
        ROW("GET /a/b?c=d&e=%20 HTTP/1.1\r\nHost: a.b:80\r\n\r\n", "GET /a/b?c=d&e=%20 @a.b:80 1.1\nHost=[a.b:80]\n"),
        ROW("GET / HTTP/1.1\r\nHost: a\r\n\r\nGET /2 HTTP/1.1\r\n\r\n",
            "GET / @a 1.1 <GET /2 HTTP/1.1\r\n\r\n>\nHost=[a]\n"),
        ROW("\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", "GET / @a 1.1\nHost=[a]\n"),
        ROW("GET / HTTP/1.0\r\n\r\n", "GET / @ 1.0\n"),
        ROW("GET / HTTP/1.0\r\nHost: a\r\n\r\n", "GET / @a 1.0\nHost=[a]\n"),
        ROW("GET / HTTP/1.2\r\nHost: a\r\n\r\n", "GET / @a 1.1\nHost=[a]\n"),
        ROW("GET / HTTP/1.9\r\nHost: a\r\n\r\n", "GET / @a 1.1\nHost=[a]\n"),
        ROW("get / HTTP/1.1\r\nHost: a\r\n\r\n", "get / @a 1.1\nHost=[a]\n"),
        ROW("M-SEARCH.!#$%&'*+^_`|~ / HTTP/1.1\r\nHost: a\r\n\r\n", "M-SEARCH.!#$%&'*+^_`|~ / @a 1.1\nHost=[a]\n"),
        ROW("GET / HTTP/1.1\r\nhOsT:a\r\nX-A: \t b \t c\t \r\nX-B:\r\nX-C: \xe9\xff\r\n\r\n",
            "GET / @a 1.1\nhOsT=[a]\nX-A=[b \t c]\nX-B=[]\nX-C=[\xe9\xff]\n"),
        ROW("GET //b/c HTTP/1.1\r\nHost: a\r\n\r\n", "GET //b/c @a 1.1\nHost=[a]\n"),
        ROW("GET /http://b/ HTTP/1.1\r\nHost: a\r\n\r\n", "GET /http://b/ @a 1.1\nHost=[a]\n"),
        ROW("GET / HTTP/1.1\r\nHost: a\r\nA: 1\r\na: 2\r\n\r\n", "GET / @a 1.1\nHost=[a]\nA=[1]\na=[2]\n"),
    };
    CHECK(rows, &request);
}

Test(h1_parse, target_forms) {
    static const struct row rows[] = {
        ROW("GET http://a/b?c HTTP/1.1\r\nHost: a\r\n\r\n", "GET /b?c @a 1.1 (http a)\nHost=[a]\n"),
        ROW("GET HTTPS://A:443 HTTP/1.1\r\nHost: a:443\r\n\r\n", "GET / @A:443 1.1 (HTTPS A:443)\nHost=[a:443]\n"),
        ROW("GET http://a?q HTTP/1.1\r\nHost: a\r\n\r\n", "GET /?q @a 1.1 (http a)\nHost=[a]\n"),
        ROW("GET http://a/ HTTP/1.0\r\n\r\n", "GET / @a 1.0 (http a)\n"),
        ROW("OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", "OPTIONS * @a 1.1\nHost=[a]\n"),
        ROW("OPTIONS http://a HTTP/1.1\r\nHost: a\r\n\r\n", "OPTIONS * @a 1.1 (http a)\nHost=[a]\n"),
        ROW("OPTIONS http://a?q HTTP/1.1\r\nHost: a\r\n\r\n", "OPTIONS /?q @a 1.1 (http a)\nHost=[a]\n"),
        ROW("OPTIONS /x HTTP/1.1\r\nHost: a\r\n\r\n", "OPTIONS /x @a 1.1\nHost=[a]\n"),
        ROW("CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n", "CONNECT a:443 @a:443 1.1\nHost=[a:443]\n"),
        ROW("GET * HTTP/1.1\r\nHost: a\r\n\r\n", "target"),
        ROW("GET a HTTP/1.1\r\nHost: a\r\n\r\n", "target"),
        ROW("GET ?a HTTP/1.1\r\nHost: a\r\n\r\n", "target"),
        ROW("GET a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n", "target"),
        ROW("GET ftp://a/ HTTP/1.1\r\nHost: a\r\n\r\n", "target"),
        ROW("GET http:/a HTTP/1.1\r\nHost: a\r\n\r\n", "target"),
        ROW("GET http: HTTP/1.1\r\nHost: a\r\n\r\n", "target"),
        ROW("GET httpx://a/ HTTP/1.1\r\nHost: a\r\n\r\n", "target"),
        ROW("OPTIONS ** HTTP/1.1\r\nHost: a\r\n\r\n", "target"),
        ROW("CONNECT /x HTTP/1.1\r\nHost: a\r\n\r\n", "target"),
        ROW("CONNECT http://a/ HTTP/1.1\r\nHost: a\r\n\r\n", "target"),
        ROW("GET /a#b HTTP/1.1\r\nHost: a\r\n\r\n", "target"),
        ROW("GET /\xc3\xa9 HTTP/1.1\r\nHost: a\r\n\r\n", "target"),
        ROW("GET /a\tb HTTP/1.1\r\nHost: a\r\n\r\n", "target"),
        ROW("GET /a\0b HTTP/1.1\r\nHost: a\r\n\r\n", "target"),
        ROW("GET /\x7f HTTP/1.1\r\nHost: a\r\n\r\n", "target"),
        ROW("GET  / HTTP/1.1\r\nHost: a\r\n\r\n", "target"),
    };
    CHECK(rows, &request);
}

Test(h1_parse, request_lines) {
    static const struct row rows[] = {
        ROW("\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", "method"),
        ROW("\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", "bare-lf"),
        ROW(" GET / HTTP/1.1\r\nHost: a\r\n\r\n", "method"),
        ROW("G@T / HTTP/1.1\r\nHost: a\r\n\r\n", "method"),
        ROW("G\0T / HTTP/1.1\r\nHost: a\r\n\r\n", "method"),
        ROW("GET\t/ HTTP/1.1\r\nHost: a\r\n\r\n", "method"),
        ROW("GET\r\nHost: a\r\n\r\n", "method"),
        ROW("ABCDEFGHIJKLMNOPQRSTUVWXYZ012345 / HTTP/1.1\r\nHost: a\r\n\r\n",
            "ABCDEFGHIJKLMNOPQRSTUVWXYZ012345 / @a 1.1\nHost=[a]\n"),
        ROW("ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456 / HTTP/1.1\r\nHost: a\r\n\r\n", "method"),
        ROW("GET /\r\n\r\n", "version"),
        ROW("GET / \r\nHost: a\r\n\r\n", "version"),
        ROW("GET / HTTP/2.0\r\nHost: a\r\n\r\n", "version known"),
        ROW("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "version known"),
        ROW("GET / HTTP/0.9\r\nHost: a\r\n\r\n", "version known"),
        ROW("GET / HTTP/1.10\r\nHost: a\r\n\r\n", "version"),
        ROW("GET / HTTP/1\r\nHost: a\r\n\r\n", "version"),
        ROW("GET / HTTP/1.\r\nHost: a\r\n\r\n", "version"),
        ROW("GET / HTTP/1.1 \r\nHost: a\r\n\r\n", "version"),
        ROW("GET /  HTTP/1.1\r\nHost: a\r\n\r\n", "version"),
        ROW("GET / a HTTP/1.1\r\nHost: a\r\n\r\n", "version"),
        ROW("GET / http/1.1\r\nHost: a\r\n\r\n", "version"),
        ROW("GET / HTTP/+1.1\r\nHost: a\r\n\r\n", "version"),
        ROW("GET / HTTP/1,1\r\nHost: a\r\n\r\n", "version"),
        ROW("GET / HTTP/1.1\nHost: a\r\n\r\n", "bare-lf"),
        ROW("GET / HTTP/1.1\r\r\nHost: a\r\n\r\n", "bare-cr"),
        ROW("GET\r/ HTTP/1.1\r\nHost: a\r\n\r\n", "bare-cr"),
        ROW("GET /\rHTTP/1.1\r\nHost: a\r\n\r\n", "bare-cr"),
        ROW("\rGET / HTTP/1.1\r\nHost: a\r\n\r\n", "bare-cr"),
        ROW("", "more"),
        ROW("\r\n", "more"),
        ROW("GET / HTTP/1.1", "more"),
        ROW("GET / HTTP/1.1\r", "more"),
        ROW("GET / HTTP/1.1\r\nHost: a\r\n\r", "more"),
    };
    CHECK(rows, &request);
}

#define GET "GET / HTTP/1.1\r\nHost: a\r\n"

// Everything that one server would repair and the next one read as it stands.
Test(h1_parse, fields_that_two_parsers_read_differently) {
    static const struct row rows[] = {
        ROW(GET "A: b\r\n c\r\n\r\n", "fold"),
        ROW(GET "A: b\r\n\tc\r\n\r\n", "fold"),
        ROW(GET " \r\n\r\n", "fold"),
        ROW("GET / HTTP/1.1\r\n Host: a\r\n\r\n", "fold"),
        ROW("GET / HTTP/1.1\r\n\tHost: a\r\n\r\n", "fold"),
        ROW(GET "A : b\r\n\r\n", "field-name"),
        ROW(GET "A\t: b\r\n\r\n", "field-name"),
        ROW(GET ": b\r\n\r\n", "field-name"),
        ROW(GET "A\r\n\r\n", "field-name"),
        ROW(GET "A b: c\r\n\r\n", "field-name"),
        ROW(GET "A\0: b\r\n\r\n", "field-name"),
        ROW(GET "(A): b\r\n\r\n", "field-name"),
        ROW(GET "\"A\": b\r\n\r\n", "field-name"),
        ROW(GET "\xe9: b\r\n\r\n", "field-name"),
        ROW(GET "Content-Length\v: 5\r\n\r\n", "field-name"),
        ROW(GET "A: b\0c\r\n\r\n", "field-value"),
        ROW(GET "A: b\vc\r\n\r\n", "field-value"),
        ROW(GET "A: b\fc\r\n\r\n", "field-value"),
        ROW(GET "A: b\x7f\r\n\r\n", "field-value"),
        ROW(GET "A: \x1b[2J\r\n\r\n", "field-value"),
        ROW(GET "A: b\n\r\n", "bare-lf"),
        ROW(GET "A: b\nC: d\r\n\r\n", "bare-lf"),
        ROW(GET "\n", "bare-lf"),
        ROW(GET "A: b\r\n\n", "bare-lf"),
        ROW(GET "A: b\rC: d\r\n\r\n", "bare-cr"),
        ROW(GET "A: b\r\r\n\r\n", "bare-cr"),
        ROW(GET "A\r: b\r\n\r\n", "bare-cr"),
        ROW(GET "\rA: b\r\n\r\n", "bare-cr"),
        ROW(GET "\r\r\n", "bare-cr"),
    };
    CHECK(rows, &request);
}

Test(h1_parse, host) {
    static const struct row rows[] = {
        ROW("GET / HTTP/1.1\r\n\r\n", "host"),
        ROW("GET / HTTP/1.2\r\n\r\n", "host"),
        ROW("GET / HTTP/1.1\r\nHost:\r\n\r\n", "host"),
        ROW("GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", "host"),
        ROW("GET / HTTP/1.0\r\nHost: a\r\nhost: b\r\n\r\n", "host"),
        ROW("GET / HTTP/1.1\r\nHost: a, b\r\n\r\n", "host"),
        ROW("GET / HTTP/1.1\r\nHost: a b\r\n\r\n", "host"),
        ROW("GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", "host"),
        ROW("GET / HTTP/1.1\r\nHost: a@b\r\n\r\n", "host"),
        ROW("GET / HTTP/1.1\r\nHost: a?b\r\n\r\n", "host"),
        ROW("GET / HTTP/1.1\r\nHost: a\\b\r\n\r\n", "host"),
        ROW("GET / HTTP/1.1\r\nHost: \"a\"\r\n\r\n", "host"),
        ROW("GET / HTTP/1.1\r\nHost: a%2eb\r\n\r\n", "host"),
        ROW("GET / HTTP/1.1\r\nHost: <a>\r\n\r\n", "host"),
        ROW("GET / HTTP/1.1\r\nHost: http://a\r\n\r\n", "host"),
        ROW("GET / HTTP/1.1\r\nHost: \xe9\r\n\r\n", "host"),
        ROW("GET / HTTP/1.1\r\nHost: :80\r\n\r\n", "host"),
        ROW("GET / HTTP/1.1\r\nHost: a:b\r\n\r\n", "host"),
        ROW("GET / HTTP/1.1\r\nHost: a:80:81\r\n\r\n", "host"),
        ROW("GET / HTTP/1.1\r\nHost: a:+80\r\n\r\n", "host"),
        ROW("GET / HTTP/1.1\r\nHost: a:123456\r\n\r\n", "host"),
        ROW("GET / HTTP/1.1\r\nHost: [::1\r\n\r\n", "host"),
        ROW("GET / HTTP/1.1\r\nHost: []\r\n\r\n", "host"),
        ROW("GET / HTTP/1.1\r\nHost: [::1]x\r\n\r\n", "host"),
        ROW("GET / HTTP/1.1\r\nHost: [::1]:x\r\n\r\n", "host"),
        ROW("GET / HTTP/1.1\r\nHost: [g::1]\r\n\r\n", "host"),
        ROW("GET / HTTP/1.1\r\nHost: ::1\r\n\r\n", "host"),
        ROW("GET / HTTP/1.1\r\nHost: [::1]:80\r\n\r\n", "GET / @[::1]:80 1.1\nHost=[[::1]:80]\n"),
        ROW("GET / HTTP/1.1\r\nHost: [::ffff:1.2.3.4]\r\n\r\n",
            "GET / @[::ffff:1.2.3.4] 1.1\nHost=[[::ffff:1.2.3.4]]\n"),
        ROW("GET / HTTP/1.1\r\nHost: 127.0.0.1:8080\r\n\r\n", "GET / @127.0.0.1:8080 1.1\nHost=[127.0.0.1:8080]\n"),
        ROW("GET / HTTP/1.1\r\nHost: a_b.c-d\r\n\r\n", "GET / @a_b.c-d 1.1\nHost=[a_b.c-d]\n"),
        ROW("GET http://a/ HTTP/1.1\r\nHost: b\r\n\r\n", "host"),
        ROW("GET http://a/ HTTP/1.1\r\nHost: a:80\r\n\r\n", "host"),
        ROW("GET http://a/ HTTP/1.1\r\n\r\n", "host"),
        ROW("GET http://u@a/ HTTP/1.1\r\nHost: a\r\n\r\n", "host"),
        ROW("GET http:///x HTTP/1.1\r\nHost: a\r\n\r\n", "host"),
        ROW("GET http://a\\b/ HTTP/1.1\r\nHost: a\r\n\r\n", "host"),
    };
    CHECK(rows, &request);
}

Test(h1_parse, responses) {
    static const struct row rows[] = {
        ROW("HTTP/1.1 200 OK\r\n\r\n", "200 1.1 [OK]\n"),
        ROW("HTTP/1.1 200 OK\r\nA: b\r\n\r\nbody", "200 1.1 [OK] <body>\nA=[b]\n"),
        ROW("HTTP/1.0 404 Not Found\r\n\r\n", "404 1.0 [Not Found]\n"),
        ROW("HTTP/1.1 299 \r\n\r\n", "299 1.1 []\n"),
        ROW("HTTP/1.1 299\r\n\r\n", "299 1.1 []\n"),
        ROW("HTTP/1.1 999 \xe9\t!\r\n\r\n", "999 1.1 [\xe9\t!]\n"),
        ROW("HTTP/1.7 100 Continue\r\n\r\n", "100 1.1 [Continue]\n"),
        ROW("\r\nHTTP/1.1 200 OK\r\n\r\n", "status-line"),
        ROW("HTTP/2.0 200 OK\r\n\r\n", "status-line"),
        ROW("http/1.1 200 OK\r\n\r\n", "status-line"),
        ROW("HTTP/1.1  200 OK\r\n\r\n", "status-line"),
        ROW("HTTP/1.1 20 OK\r\n\r\n", "status-line"),
        ROW("HTTP/1.1 2000 OK\r\n\r\n", "status-line"),
        ROW("HTTP/1.1 099 OK\r\n\r\n", "status-line"),
        ROW("HTTP/1.1 2x0 OK\r\n\r\n", "status-line"),
        ROW("HTTP/1.1 +20 OK\r\n\r\n", "status-line"),
        ROW("HTTP/1.1 200OK\r\n\r\n", "status-line"),
        ROW("HTTP/1.1 200\tOK\r\n\r\n", "status-line"),
        ROW("HTTP/1.1 200 O\0K\r\n\r\n", "status-line"),
        ROW("HTTP/1.1 200 O\rK\r\n\r\n", "bare-cr"),
        ROW("HTTP/1.1 200 OK\n\r\n", "bare-lf"),
        ROW("HTTP/1.1 200 OK\r\n A: b\r\n\r\n", "fold"),
        ROW("HTTP/1.1 200 OK\r\nA : b\r\n\r\n", "field-name"),
        ROW("HTTP/1.1 200 OK\r\nA: b\x01\r\n\r\n", "field-value"),
        ROW("ICY 200 OK\r\n\r\n", "status-line"),
        ROW("HTTP/1.1 200 OK\r\n", "more"),
    };
    CHECK(rows, &response);
}

// The limit is met by a head that ends there, and passed by one more byte, ended or not.
Test(h1_parse, the_limit_holds_to_the_byte) {
    static const char head[] = "GET / HTTP/1.1\r\nHost: a\r\n\r\n",
                      rest[] = "GET / HTTP/1.1\r\nHost: a\r\n\r\nand what follows";
    const struct lt_span open = lt_span(head, sizeof head - 2);
    for (size_t max = 1; max < 40; max++) {
        const struct how how = {false, max};
        bool fits = max >= sizeof head - 1;
        split_check(read_head, LT_S(head), fits ? "GET / @a 1.1\nHost=[a]\n" : "too-large", &how);
        split_check(read_head, LT_S(rest), fits ? "GET / @a 1.1 <and what follows>\nHost=[a]\n" : "too-large", &how);
        split_check(read_head, open, max > open.n ? "more" : "too-large", &how);
    }
}

Test(h1_parse, the_number_of_fields_is_limited) {
    const struct how how = {false, 1 << 16};
    struct lt_buf text, out;
    lt_buf_init(&text, 1 << 16);
    lt_buf_init(&out, 1 << 16);
    cr_assert(lt_buf_append(&text, LT_S("GET / HTTP/1.1\r\nHost: a\r\n")));
    for (int i = 1; i < LT_HEADERS_MAX; i++)
        cr_assert(lt_buf_printf(&text, "F%d: %d\r\n", i, i));
    size_t full = text.len;
    cr_assert(lt_buf_append(&text, LT_S("\r\n")));
    read_head(&out, lt_buf_span(&text), 1, 1, &how);
    cr_assert(lt_span_starts(lt_buf_span(&out), LT_S("GET / @a 1.1\n")), "%.*s", (int)out.len, out.p);
    text.len = full;
    lt_buf_consume(&out, out.len);
    cr_assert(lt_buf_append(&text, LT_S("One: more\r\n\r\n")));
    read_head(&out, lt_buf_span(&text), 1, 1, &how);
    cr_assert(lt_span_eq(lt_buf_span(&out), LT_S("too-many")), "%.*s", (int)out.len, out.p);
    lt_buf_fini(&text);
    lt_buf_fini(&out);
}

Test(h1_parse, methods) {
    static const struct {
        const char *text;
        enum lt_method method;
    } rows[] = {
        {"GET", LT_METHOD_GET},     {"HEAD", LT_METHOD_HEAD},     {"POST", LT_METHOD_POST},
        {"PUT", LT_METHOD_PUT},     {"DELETE", LT_METHOD_DELETE}, {"OPTIONS", LT_METHOD_OPTIONS},
        {"TRACE", LT_METHOD_TRACE}, {"PATCH", LT_METHOD_PATCH},   {"get", LT_METHOD_OTHER},
        {"GETS", LT_METHOD_OTHER},  {"GE", LT_METHOD_OTHER},      {"PROPFIND", LT_METHOD_OTHER},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct lt_arena arena;
        struct lt_h1_parser p;
        struct lt_h1_head head;
        char text[64];
        int n = snprintf(text, sizeof text, "%s / HTTP/1.1\r\nHost: a\r\n\r\n", rows[i].text);
        lt_arena_init(&arena, 1 << 16);
        cr_assert(lt_h1_parser_init(&p, &head, &arena, false, 4096));
        cr_assert_eq(lt_h1_parse(&p, &head, text, (size_t)n), LT_H1_DONE);
        cr_assert_eq(head.method, rows[i].method, "%s", rows[i].text);
        lt_arena_fini(&arena);
    }
}

Test(h1_parse, no_memory_is_told) {
    struct lt_arena arena;
    struct lt_h1_parser p;
    struct lt_h1_head head;
    lt_arena_init(&arena, 16);
    cr_assert_not(lt_h1_parser_init(&p, &head, &arena, false, 4096));
    lt_arena_fini(&arena);
    lt_arena_init(&arena, 24 * sizeof(struct lt_header));
    cr_assert(lt_h1_parser_init(&p, &head, &arena, false, 4096));
    struct lt_buf text;
    lt_buf_init(&text, 4096);
    cr_assert(lt_buf_append(&text, LT_S("GET / HTTP/1.1\r\nHost: a\r\n")));
    for (int i = 0; i < 30; i++)
        cr_assert(lt_buf_append(&text, LT_S("a: b\r\n")));
    cr_assert_eq(lt_h1_parse(&p, &head, text.p, text.len), LT_H1_BAD);
    cr_assert_eq(p.reason, LT_H1_MEMORY);
    lt_buf_fini(&text);
    lt_arena_fini(&arena);
}

// A reason without a name or a status would be an empty label and an answer "0".
Test(h1_parse, each_reason_has_a_name_of_its_own_and_a_status) {
    for (int r = LT_H1_OK + 1; r < LT_H1_REASONS; r++) {
        const char *name = lt_h1_reason_name((enum lt_h1_reason)r);
        cr_assert(name && *name, "reason %d", r);
        for (int other = LT_H1_OK; other < r; other++)
            cr_assert_str_neq(name, lt_h1_reason_name((enum lt_h1_reason)other));
        int want = r == LT_H1_VERSION                            ? 505
                   : r == LT_H1_TOO_MANY || r == LT_H1_TOO_LARGE ? 431
                   : r == LT_H1_EXPECT                           ? 417
                   : r == LT_H1_MEMORY                           ? 503
                                                                 : 400;
        cr_assert_eq(lt_h1_reason_status((enum lt_h1_reason)r), want, "%s", name);
    }
}
