// SPDX-License-Identifier: Apache-2.0
// What single operations of a request's life cost: `micro NAME COUNT REQUEST` does one of them COUNT times and prints the nanoseconds that
// all of it took; REQUEST is a file with the head of a request. `micro` alone prints the names. Under callgrind the difference of two
// counts is a number of instructions that the machine's load does not move.
#include "crypto/seal.h"
#include "crypto/token.h"
#include "http/cookie.h"
#include "http/h1_write.h"
#include "record.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { HEAD_MAX = 32 << 10, SEALED_MAX = 4096, PLAIN = 256 };

static char request[HEAD_MAX];
static size_t request_n;
static const char answer[] =
    "HTTP/1.1 200 OK\r\nDate: Mon, 23 Nov 2026 12:00:00 GMT\r\nServer: origin\r\nCache-Control: no-cache\r\n"
    "Content-Type: application/octet-stream\r\nContent-Length: 1024\r\n\r\n";

// What the operations work on; made once.
static struct {
    struct lt_arena arena;
    struct lt_h1_head head;
    struct lt_framing framing;
    struct lt_span cookies;
    struct lt_buf out;
    struct lt_key_ring ring;
    struct lt_token token;
    char token_text[LT_TOKEN_TEXT + 1];
    struct lt_record *record;
    uint8_t plain[PLAIN], sealed[SEALED_MAX], sealed_record[SEALED_MAX];
    size_t sealed_n, sealed_record_n;
} the;

static struct lt_seal_context context(void) {
    return (struct lt_seal_context){LT_S("record"), lt_span((const char *)the.token.bytes, LT_TOKEN_BYTES)};
}

static bool parse(struct lt_arena *arena, struct lt_h1_head *head, struct lt_span text, bool response) {
    struct lt_h1_parser parser;
    return lt_h1_parser_init(&parser, head, arena, response, HEAD_MAX) &&
           lt_h1_parse(&parser, head, text.p, text.n) == LT_H1_DONE;
}

// ---- the operations: false is a failure ----

static bool parse_request(void) {
    struct lt_arena arena;
    struct lt_h1_head head;
    struct lt_framing framing;
    lt_arena_init(&arena, 2 * HEAD_MAX);
    bool ok = parse(&arena, &head, lt_span(request, request_n), false) && lt_framing_request(&head, &framing) == LT_H1_OK;
    lt_arena_fini(&arena);
    return ok;
}

static bool parse_answer(void) {
    struct lt_arena arena;
    struct lt_h1_head head;
    lt_arena_init(&arena, 2 * HEAD_MAX);
    bool ok = parse(&arena, &head, lt_span(answer, sizeof answer - 1), true);
    lt_arena_fini(&arena);
    return ok;
}

static bool write_request(void) {
    struct lt_h1_out how = {.kind = the.framing.kind, .length = the.framing.length};
    lt_buf_consume(&the.out, the.out.len);
    return lt_h1_write_request(&the.out, &the.head, &how);
}

static bool scan_cookies(void) {
    struct lt_span rest = the.cookies;
    struct lt_cookie c;
    unsigned n = 0;
    while (lt_cookie_next(&rest, &c))
        n += c.name.n > 0;
    return n > 1;
}

static bool make_token(void) {
    struct lt_token t;
    char text[LT_TOKEN_TEXT + 1];
    if (!lt_token_new(&t))
        return false;
    lt_token_format(&t, text);
    return text[0] != 0;
}

static bool name_token(void) {
    struct lt_token t;
    char name[LT_TOKEN_HASH_TEXT + 1];
    if (!lt_token_parse(lt_span(the.token_text, LT_TOKEN_TEXT), &t))
        return false;
    lt_token_hash(&t, LT_S(""), name);
    return name[0] != 0;
}

static bool seal_bytes(void) {
    the.sealed_n = lt_seal(&the.ring, context(), LT_S("name"), lt_span((const char *)the.plain, PLAIN), the.sealed);
    return the.sealed_n > 0;
}

static bool open_bytes(void) {
    uint8_t back[SEALED_MAX];
    size_t n;
    return lt_open(&the.ring, context(), LT_S("name"), lt_span((const char *)the.sealed, the.sealed_n), back, &n, NULL) &&
           n == PLAIN;
}

static bool seal_record(void) {
    lt_buf_consume(&the.out, the.out.len);
    if (!lt_record_encode(the.record, &the.out))
        return false;
    the.sealed_record_n = lt_seal(&the.ring, context(), LT_S("name"), lt_buf_span(&the.out), the.sealed_record);
    return the.sealed_record_n > 0;
}

static bool open_record(void) {
    uint8_t plain[SEALED_MAX];
    size_t n;
    if (!lt_open(&the.ring, context(), LT_S("name"), lt_span((const char *)the.sealed_record, the.sealed_record_n),
                 plain, &n, NULL))
        return false;
    struct lt_record *r = lt_record_decode(lt_span((const char *)plain, n));
    bool ok = r && r->n_cookies == 1;
    lt_record_free(r);
    return ok;
}

static const struct operation {
    const char *name;
    bool (*once)(void);
} operations[] = {
    {"parse a request's head", parse_request},
    {"write it anew", write_request},
    {"parse an answer's head", parse_answer},
    {"scan six cookies", scan_cookies},
    {"token: make and write", make_token},
    {"token: read, its name in the store", name_token},
    {"seal 256 bytes", seal_bytes},
    {"open 256 bytes", open_bytes},
    {"record: encode and seal", seal_record},
    {"record: open and decode", open_record},
};
enum { OPERATIONS = sizeof operations / sizeof *operations };

static bool set_up(const char *path) {
    FILE *f = fopen(path, "rb");
    request_n = f ? fread(request, 1, sizeof request, f) : 0;
    if (f)
        fclose(f);
    lt_arena_init(&the.arena, 2 * HEAD_MAX);
    lt_buf_init(&the.out, HEAD_MAX);
    if (!parse(&the.arena, &the.head, lt_span(request, request_n), false) ||
        lt_framing_request(&the.head, &the.framing) != LT_H1_OK || !lt_headers_get(&the.head.headers, LT_HDR_COOKIE))
        return false;
    the.cookies = lt_headers_get(&the.head.headers, LT_HDR_COOKIE)->value;
    lt_framing_strip(&the.head.headers);
    the.ring.n = 1;
    memcpy(the.ring.keys[0].id, "k1", 3);
    struct lt_record_cookie c = {.name = LT_S("connect.sid"),
                                 .path = LT_S("/"),
                                 .http_only = true,
                                 .value = LT_S("s%3Avkq2qvcebxqhi33qvbv2jdogedpa2xen.ed721aa98ec96282")};
    the.record = lt_record_new(1);
    if (!lt_token_new(&the.token) || !the.record || !lt_record_set_cookie(the.record, &c))
        return false;
    lt_token_format(&the.token, the.token_text);
    return seal_bytes() && seal_record();
}

static int run(const struct operation *o, long count) {
    struct timespec a, b;
    clock_gettime(CLOCK_MONOTONIC, &a);
    for (long i = 0; i < count; i++) {
        if (!o->once()) {
            fprintf(stderr, "micro: %s: it failed\n", o->name);
            return 1;
        }
    }
    clock_gettime(CLOCK_MONOTONIC, &b);
    printf("%lld\n", (long long)(b.tv_sec - a.tv_sec) * 1000000000 + b.tv_nsec - a.tv_nsec);
    return 0;
}

int main(int argc, char **argv) {
    if (argc == 1) {
        for (unsigned i = 0; i < OPERATIONS; i++)
            puts(operations[i].name);
        return 0;
    }
    long count = argc == 4 ? strtol(argv[2], NULL, 10) : 0;
    for (unsigned i = 0; count > 0 && i < OPERATIONS; i++) {
        if (strcmp(operations[i].name, argv[1]) != 0)
            continue;
        if (!set_up(argv[3])) {
            fprintf(stderr, "micro: %s: no request's head, or what belongs to it could not be made\n", argv[3]);
            return 1;
        }
        return run(&operations[i], count);
    }
    fprintf(stderr, "usage: micro, for the names; micro NAME COUNT REQUEST\n");
    return 2;
}
