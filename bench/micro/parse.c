// SPDX-License-Identifier: Apache-2.0
// What parsing a head costs: `micro_parse lethe|llhttp small|browser COUNT` parses a request of 200 bytes, or a browser's, COUNT times:
// with lethe's parser and its arena, or with llhttp whose callbacks note the name and the value of each field, as a user of it does.
// Prints nanoseconds an operation and a checksum; `perf stat -e instructions:u` counts the rest. See README.md.
#include "http/h1_parse.h"

#include <llhttp.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum { HEAD_MAX = 32 << 10, FIELDS_MAX = 128 };

static const char small[] = "GET /app/orders?page=3 HTTP/1.1\r\n"
                            "Host: shop.example.com\r\n"
                            "User-Agent: Mozilla/5.0 (compatible)\r\n"
                            "Accept: text/html,*/*;q=0.8\r\n"
                            "Accept-Encoding: gzip\r\n"
                            "Cookie: lethe=q83vEjRWeJCrze8SNFZ4kKvN7xI0VniQ\r\n"
                            "\r\n";

// That of head.c.
static const char browser[] =
    "GET /app/orders/2024/overview?page=3&sort=date HTTP/1.1\r\n"
    "Host: shop.example.com\r\n"
    "Connection: keep-alive\r\n"
    "Cache-Control: max-age=0\r\n"
    "Upgrade-Insecure-Requests: 1\r\n"
    "User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/120.0.0.0 "
    "Safari/537.36\r\n"
    "Accept: text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8\r\n"
    "Sec-Fetch-Site: same-origin\r\n"
    "Sec-Fetch-Mode: navigate\r\n"
    "Referer: https://shop.example.com/app/orders\r\n"
    "Accept-Encoding: gzip, deflate, br\r\n"
    "Accept-Language: en-GB,en;q=0.9,de;q=0.8\r\n"
    "Cookie: theme=dark; lethe=q83vEjRWeJCrze8SNFZ4kKvN7xI0VniQq83vEjRWeJA; _ga=GA1.2.1234567890.1700000000; "
    "lang=en\r\n"
    "\r\n";

// 0: it was refused.
static unsigned long parse_lethe(const char *text, size_t n) {
    struct lt_arena arena;
    struct lt_h1_parser parser;
    struct lt_h1_head head;
    unsigned long sum = 0;
    lt_arena_init(&arena, 2 * HEAD_MAX);
    if (lt_h1_parser_init(&parser, &head, &arena, false, HEAD_MAX) && lt_h1_parse(&parser, &head, text, n) == LT_H1_DONE)
        sum = head.headers.n + head.headers.v[head.headers.n - 1].value.n;
    lt_arena_fini(&arena);
    return sum;
}

struct noted {
    struct lt_span target;
    struct {
        struct lt_span name, value;
    } v[FIELDS_MAX];
    unsigned n;
    bool whole;
};

static int on_url(llhttp_t *p, const char *at, size_t n) {
    ((struct noted *)p->data)->target = lt_span(at, n);
    return 0;
}

static int on_header_field(llhttp_t *p, const char *at, size_t n) {
    struct noted *noted = p->data;
    if (noted->n == FIELDS_MAX)
        return -1;
    noted->v[noted->n++].name = lt_span(at, n);
    return 0;
}

static int on_header_value(llhttp_t *p, const char *at, size_t n) {
    struct noted *noted = p->data;
    noted->v[noted->n - 1].value = lt_span(at, n);
    return 0;
}

static int on_headers_complete(llhttp_t *p) {
    ((struct noted *)p->data)->whole = true;
    return 0;
}

static const llhttp_settings_t settings = {
    .on_url = on_url,
    .on_header_field = on_header_field,
    .on_header_value = on_header_value,
    .on_headers_complete = on_headers_complete,
};

static unsigned long parse_llhttp(const char *text, size_t n) {
    llhttp_t parser;
    struct noted noted;
    noted.n = 0;
    noted.whole = false;
    llhttp_init(&parser, HTTP_REQUEST, &settings);
    parser.data = &noted;
    return llhttp_execute(&parser, text, n) == HPE_OK && noted.whole ? noted.n + noted.v[noted.n - 1].value.n : 0;
}

int main(int argc, char **argv) {
    char *end = NULL;
    long count = argc == 4 ? strtol(argv[3], &end, 10) : 0;
    if (count < 1 || *end) {
        fprintf(stderr, "usage: micro_parse lethe|llhttp small|browser COUNT\n");
        return 2;
    }
    unsigned long (*parse)(const char *, size_t) = strcmp(argv[1], "lethe") == 0 ? parse_lethe : parse_llhttp;
    struct lt_span text = strcmp(argv[2], "small") == 0 ? LT_S(small) : LT_S(browser);
    struct timespec from, to;
    unsigned long sum = 0;
    clock_gettime(CLOCK_MONOTONIC, &from);
    for (long i = 0; i < count; i++) {
        unsigned long one = parse(text.p, text.n);
        if (!one) {
            fprintf(stderr, "micro_parse: the request was refused\n");
            return 1;
        }
        sum += one;
    }
    clock_gettime(CLOCK_MONOTONIC, &to);
    double ns = (double)(to.tv_sec - from.tv_sec) * 1e9 + (double)(to.tv_nsec - from.tv_nsec);
    printf("%s %s: %zu bytes, %.1f ns, checksum %lx\n", argv[1], argv[2], text.n, ns / (double)count, sum);
    return 0;
}
