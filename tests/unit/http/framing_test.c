// SPDX-License-Identifier: Apache-2.0
#include "http/framing.h"

#include "tests/rig/leaks.h"
#include "tests/unit/http/split.h"

TestSuite(framing, .fini = lt_rig_leaks);

// Parses the start line and the fields; the caller gives the arena back.
static struct lt_h1_head parse(struct lt_arena *arena, bool response, const char *start, const char *fields, char *text,
                               size_t size) {
    struct lt_h1_parser p;
    struct lt_h1_head head;
    int n = snprintf(text, size, "%s\r\n%s%s\r\n", start, response ? "" : "Host: a\r\n", fields);
    cr_assert((size_t)n < size);
    lt_arena_init(arena, 1 << 17);
    cr_assert(lt_h1_parser_init(&p, &head, arena, response, size));
    cr_assert_eq(lt_h1_parse(&p, &head, text, (size_t)n), LT_H1_DONE, "%s: %s", text, lt_h1_reason_name(p.reason));
    return head;
}

// "length 5 keep expect", "chunked", …, or the reason.
static void describe(char *out, size_t size, enum lt_h1_reason r, const struct lt_framing *f) {
    static const char *const kinds[] = {"none", "length", "chunked", "close"};
    char length[24] = "";
    if (f->kind == LT_BODY_LENGTH)
        snprintf(length, sizeof length, " %llu", (unsigned long long)f->length);
    if (r != LT_H1_OK)
        snprintf(out, size, "%s", lt_h1_reason_name(r));
    else
        snprintf(out, size, "%s%s%s%s%s%.*s", kinds[f->kind], length,
                 f->keep_alive ? " keep"
                 : f->last     ? " last"
                               : "",
                 f->expect_continue ? " expect" : "", f->upgrade ? " upgrade " : "", (int)f->upgrade_protocol.n,
                 f->upgrade_protocol.n ? f->upgrade_protocol.p : "");
}

struct row {
    const char *start, *fields, *out;
    enum lt_method method; // of a response's request
};

static void check(const struct row *rows, size_t n, bool response) {
    for (size_t i = 0; i < n; i++) {
        struct lt_arena arena;
        struct lt_framing f;
        char text[1024], got[256];
        struct lt_h1_head head = parse(&arena, response, rows[i].start, rows[i].fields, text, sizeof text);
        enum lt_h1_reason r = response ? lt_framing_response(&head, rows[i].method, &f) : lt_framing_request(&head, &f);
        describe(got, sizeof got, r, &f);
        cr_assert_str_eq(got, rows[i].out, "%s got: %s, wanted: %s", text, got, rows[i].out);
        lt_arena_fini(&arena);
    }
}

#define GET11 "GET / HTTP/1.1"
#define GET10 "GET / HTTP/1.0"
#define POST11 "POST / HTTP/1.1"
#define CL "Content-Length: "
#define TE "Transfer-Encoding: "

Test(framing, request_bodies) {
    static const struct row rows[] = {
        {GET11, "", "none keep"},
        {POST11, "", "none keep"},
        {POST11, CL "0\r\n", "none keep"},
        {POST11, CL "5\r\n", "length 5 keep"},
        {GET11, CL "5\r\n", "length 5 keep"},
        {POST11, CL "9223372036854775807\r\n", "length 9223372036854775807 keep"},
        {POST11, CL "5\r\n" CL "5\r\n", "length 5 keep"},
        {POST11, CL "5, 5\r\n", "length 5 keep"},
        {POST11, CL "5,5 ,\t5\r\n", "length 5 keep"},
        {POST11, TE "chunked\r\n", "chunked keep"},
        {POST11, TE "CHUNKED\r\n", "chunked keep"},
        {POST11, TE "\tchunked \r\n", "chunked keep"},
        {"POST / HTTP/1.2", TE "chunked\r\n", "chunked keep"},
    };
    check(rows, COUNT(rows), false);
}

Test(framing, content_lengths_that_are_refused) {
    static const struct row rows[] = {
        {POST11, CL "\r\n", "content-length"},
        {POST11, CL "+5\r\n", "content-length"},
        {POST11, CL "-5\r\n", "content-length"},
        {POST11, CL "5 5\r\n", "content-length"},
        {POST11, CL "0x5\r\n", "content-length"},
        {POST11, CL "5a\r\n", "content-length"},
        {POST11, CL "5.0\r\n", "content-length"},
        {POST11, CL "5;q=1\r\n", "content-length"},
        {POST11, CL "\"5\"\r\n", "content-length"},
        {POST11, CL "5,\r\n", "content-length"},
        {POST11, CL ",5\r\n", "content-length"},
        {POST11, CL "5,,5\r\n", "content-length"},
        {POST11, CL "5, 6\r\n", "content-length"},
        {POST11, CL "5, 05\r\n", "content-length"},
        {POST11, CL "5\r\n" CL "6\r\n", "content-length"},
        {POST11, CL "5\r\ncontent-length: 05\r\n", "content-length"},
        {POST11, CL "5\r\n" CL "\r\n", "content-length"},
        {POST11, CL "\r\n" CL "5\r\n", "content-length"},
        {POST11, CL "0\r\n" CL "5\r\n", "content-length"},
        {POST11, CL "9223372036854775808\r\n", "content-length"},
        {POST11, CL "18446744073709551621\r\n", "content-length"},
        {POST11, CL "\xb2\r\n", "content-length"},
    };
    check(rows, COUNT(rows), false);
}

Test(framing, transfer_encodings_that_are_refused) {
    static const struct row rows[] = {
        {POST11, TE "\r\n", "transfer-encoding"},
        {POST11, TE "gzip\r\n", "transfer-encoding"},
        {POST11, TE "identity\r\n", "transfer-encoding"},
        {POST11, TE "gzip, chunked\r\n", "transfer-encoding"},
        {POST11, TE "chunked, gzip\r\n", "transfer-encoding"},
        {POST11, TE "chunked, chunked\r\n", "transfer-encoding"},
        {POST11, TE "chunked,\r\n", "transfer-encoding"},
        {POST11, TE "chunked;a=b\r\n", "transfer-encoding"},
        {POST11, TE "\"chunked\"\r\n", "transfer-encoding"},
        {POST11, TE "xchunked\r\n", "transfer-encoding"},
        {POST11, TE "chunke\r\n", "transfer-encoding"},
        {POST11, TE "chunked\r\n" TE "chunked\r\n", "transfer-encoding"},
        {POST11, TE "chunked\r\n" TE "\r\n", "transfer-encoding"},
        {POST11, TE "identity\r\ntransfer-encoding: chunked\r\n", "transfer-encoding"},
        {POST11, CL "5\r\n" TE "chunked\r\n", "transfer-encoding"},
        {POST11, TE "chunked\r\n" CL "5\r\n", "transfer-encoding"},
        {POST11, TE "chunked\r\n" CL "0\r\n", "transfer-encoding"},
        {POST11, TE "identity\r\n" CL "5\r\n", "transfer-encoding"},
        {POST11, TE "chunked\r\n" CL "x\r\n", "content-length"},
        {"POST / HTTP/1.0", TE "chunked\r\n", "transfer-encoding"},
    };
    check(rows, COUNT(rows), false);
}

Test(framing, keep_alive) {
    static const struct row rows[] = {
        {GET11, "Connection: close\r\n", "none last"},
        {GET11, "Connection: CLOSE\r\n", "none last"},
        {GET11, "Connection: x, close\r\n", "none last"},
        {GET11, "Connection: keep-alive\r\nConnection: close\r\n", "none last"},
        {POST11, CL "5\r\nConnection: close\r\n", "length 5"},
        {POST11, CL "0\r\nConnection: close\r\n", "none last"},
        {GET11, "Connection: keep-alive\r\n", "none keep"},
        {GET11, "Connection: closed\r\n", "none keep"},
        {GET11, "Connection:\r\n", "none keep"},
        {GET11, "Proxy-Connection: close\r\n", "none keep"},
        {GET10, "", "none"},
        {GET10, "Connection: keep-alive\r\n", "none keep"},
        {GET10, "Connection: Keep-Alive, x\r\n", "none keep"},
        {GET10, "Connection: keep-alive, close\r\n", "none last"},
        {GET10, "Proxy-Connection: keep-alive\r\n", "none"},
    };
    check(rows, COUNT(rows), false);
}

Test(framing, expect) {
    static const struct row rows[] = {
        {POST11, CL "5\r\nExpect: 100-continue\r\n", "length 5 keep expect"},
        {POST11, TE "chunked\r\nExpect: 100-CONTINUE\r\n", "chunked keep expect"},
        {POST11, "Expect: 100-continue\r\n", "none keep"},
        {POST11, CL "5\r\nExpect: 200-ok\r\n", "expect"},
        {POST11, CL "5\r\nExpect: 100-continue, x\r\n", "expect"},
        {POST11, CL "5\r\nExpect: 100-continue\r\nExpect: x\r\n", "expect"},
        {POST11, CL "5\r\nExpect:\r\n", "expect"},
        {"POST / HTTP/1.0", CL "5\r\nExpect: 100-continue\r\n", "length 5"},
    };
    check(rows, COUNT(rows), false);
}

Test(framing, upgrade) {
    static const struct row rows[] = {
        {GET11, "Connection: upgrade\r\nUpgrade: websocket\r\n", "none keep upgrade websocket"},
        {GET11, "Connection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n", "none keep upgrade websocket"},
        {GET11, "Upgrade: websocket\r\n", "none keep"},
        {GET11, "Connection: upgrade\r\n", "none keep"},
        {GET11, "Connection: upgrade\r\nUpgrade:\r\n", "none keep"},
        {GET11, "Connection: upgrade\r\nUpgrade: h2c\r\n", "none keep"},
        {GET11, "Connection: upgrade\r\nUpgrade: websocket, h2c\r\n", "none keep"},
        {GET11, "Connection: upgrade\r\nUpgrade: a\r\nUpgrade: b\r\n", "none keep"},
        {GET10, "Connection: upgrade\r\nUpgrade: websocket\r\n", "none"},
        {POST11, CL "5\r\nConnection: upgrade\r\nUpgrade: websocket\r\n", "length 5 keep"},
        {POST11, TE "chunked\r\nConnection: upgrade\r\nUpgrade: websocket\r\n", "chunked keep"},
    };
    check(rows, COUNT(rows), false);
}

Test(framing, responses) {
    static const struct row rows[] = {
        {"HTTP/1.1 200 OK", CL "5\r\n", "length 5 keep", LT_METHOD_GET},
        {"HTTP/1.1 200 OK", CL "0\r\n", "none keep", LT_METHOD_GET},
        {"HTTP/1.1 200 OK", CL "5\r\n" CL "5\r\n", "length 5 keep", LT_METHOD_GET},
        {"HTTP/1.1 200 OK", CL "5, 5\r\n", "length 5 keep", LT_METHOD_GET},
        {"HTTP/1.1 200 OK", TE "chunked\r\n", "chunked keep", LT_METHOD_GET},
        {"HTTP/1.1 200 OK", "", "close", LT_METHOD_GET},
        {"HTTP/1.1 200 OK", "Connection: keep-alive\r\n", "close", LT_METHOD_GET},
        {"HTTP/1.0 200 OK", CL "5\r\n", "length 5", LT_METHOD_GET},
        {"HTTP/1.0 200 OK", CL "5\r\nConnection: keep-alive\r\n", "length 5 keep", LT_METHOD_GET},
        {"HTTP/1.1 200 OK", CL "5\r\nConnection: close\r\n", "length 5", LT_METHOD_GET},
        {"HTTP/1.1 200 OK", CL "5\r\n", "none keep", LT_METHOD_HEAD},
        {"HTTP/1.1 200 OK", TE "chunked\r\n", "none keep", LT_METHOD_HEAD},
        {"HTTP/1.1 200 OK", "", "none keep", LT_METHOD_HEAD},
        {"HTTP/1.1 304 Not Modified", CL "5\r\n", "none keep", LT_METHOD_GET},
        {"HTTP/1.1 304 Not Modified", "", "none keep", LT_METHOD_GET},
        {"HTTP/1.1 204 No Content", "", "none keep", LT_METHOD_GET},
        {"HTTP/1.1 204 No Content", CL "0\r\n", "none keep", LT_METHOD_GET},
        // They have no body; one that announces one is read no further.
        {"HTTP/1.1 204 No Content", CL "5\r\n", "none", LT_METHOD_GET},
        {"HTTP/1.1 204 No Content", TE "chunked\r\n", "none", LT_METHOD_GET},
        {"HTTP/1.1 100 Continue", "", "none keep", LT_METHOD_POST},
        {"HTTP/1.1 103 Early Hints", "", "none keep", LT_METHOD_GET},
        {"HTTP/1.1 101 Switching", "Connection: upgrade\r\nUpgrade: websocket\r\n", "none keep upgrade websocket",
         LT_METHOD_GET},
        {"HTTP/1.1 101 Switching", "", "none keep", LT_METHOD_GET},
        {"HTTP/1.1 200 OK", CL "5\r\nConnection: upgrade\r\nUpgrade: websocket\r\n", "length 5 keep", LT_METHOD_GET},
        {"HTTP/1.1 200 OK", CL "5\r\nExpect: x\r\n", "length 5 keep", LT_METHOD_GET},
        {"HTTP/1.1 200 OK", CL "5\r\n" TE "chunked\r\n", "transfer-encoding", LT_METHOD_GET},
        {"HTTP/1.1 200 OK", CL "5\r\n" TE "chunked\r\n", "transfer-encoding", LT_METHOD_HEAD},
        {"HTTP/1.1 304 Not Modified", CL "5\r\n" TE "chunked\r\n", "transfer-encoding", LT_METHOD_GET},
        {"HTTP/1.1 200 OK", TE "gzip, chunked\r\n", "transfer-encoding", LT_METHOD_GET},
        {"HTTP/1.1 200 OK", TE "gzip\r\n", "transfer-encoding", LT_METHOD_GET},
        {"HTTP/1.0 200 OK", TE "chunked\r\n", "transfer-encoding", LT_METHOD_GET},
        {"HTTP/1.1 200 OK", CL "5\r\n" CL "6\r\n", "content-length", LT_METHOD_GET},
        {"HTTP/1.1 200 OK", CL "-1\r\n", "content-length", LT_METHOD_GET},
    };
    check(rows, COUNT(rows), true);
}

// --- what ends at this hop ---

Test(framing, strip) {
    static const struct {
        const char *fields, *left;
    } rows[] = {
        {"A: 1\r\n", "Host A "},
        {"Connection: close\r\nKeep-Alive: 5\r\nProxy-Connection: x\r\nTE: trailers\r\nUpgrade: x\r\n", "Host "},
        {CL "5\r\nExpect: 100-continue\r\n", "Host "},
        {TE "chunked\r\nTrailer: X\r\n", "Host Trailer "},
        {"Proxy-Authorization: x\r\nProxy-Authenticate: y\r\n", "Host Proxy-Authorization Proxy-Authenticate "},
        {"Connection: X-A, x-b\r\nX-A: 1\r\nX-B: 2\r\nX-C: 3\r\nX-a: 4\r\n", "Host X-C "},
        {"X-A: 1\r\nConnection: x-a\r\nConnection: , x-c\r\nX-C: 3\r\n", "Host "},
        {"Connection: HTTP2-Settings, upgrade\r\nHTTP2-Settings: x\r\n", "Host "},
        // The name of the field itself must not hide what its next line says.
        {"Connection: connection\r\nConnection: x-a\r\nX-A: 1\r\n", "Host "},
        {"Connection: close, connection\r\nConnection: keep-alive, x-a\r\nX-A: 1\r\n", "Host "},
        // A client cannot take these from the app by naming them.
        {"Connection: host, cookie, authorization, content-type, x-request-id\r\nCookie: a=b\r\nAuthorization: x\r\n"
         "Content-Type: y\r\nX-Request-Id: z\r\n",
         "Host Cookie Authorization Content-Type X-Request-Id "},
        {"Connection: x-forwarded-for, x-forwarded-proto, X-FORWARDED-PORT, x-forwarded-, x-forwarde, forwarded, "
         "via\r\n"
         "X-Forwarded-For: a\r\nX-Forwarded-Proto: b\r\nX-Forwarded-Port: c\r\nX-Forwarded-: d\r\nX-Forwarde: e\r\n"
         "Forwarded: f\r\nVia: g\r\n",
         "Host X-Forwarded-For X-Forwarded-Proto X-Forwarded-Port X-Forwarded- Forwarded Via "},
        {"Connection: set-cookie, location, date, content-encoding, cache-control, expires, vary\r\nSet-Cookie: a=b\r\n"
         "Location: /\r\nDate: x\r\nContent-Encoding: gzip\r\nCache-Control: no-store\r\nExpires: 0\r\nVary: *\r\n",
         "Host Set-Cookie Location Date Content-Encoding Cache-Control Expires Vary "},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct lt_arena arena;
        char text[1024], left[512] = "";
        struct lt_h1_head head = parse(&arena, false, GET11, rows[i].fields, text, sizeof text);
        lt_framing_strip(&head.headers);
        for (unsigned j = 0; j < head.headers.n; j++)
            if (!head.headers.v[j].dropped) {
                strncat(left, head.headers.v[j].name.p, head.headers.v[j].name.n);
                strcat(left, " ");
            }
        cr_assert_str_eq(left, rows[i].left, "row %zu: %s left: %s", i, text, left);
        lt_arena_fini(&arena);
    }
}
