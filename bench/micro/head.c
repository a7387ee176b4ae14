// SPDX-License-Identifier: Apache-2.0
// What one head costs: `micro_head COUNT` parses a browser's request COUNT times, decides its framing and writes it anew.
// Under `perf stat -e instructions` the count divided by COUNT is a number that the machine's load does not move.
// Prints a checksum of what was written, so that nothing of it can be left out.
#include "http/h1_write.h"

#include <stdio.h>
#include <stdlib.h>

enum { HEAD_MAX = 32 << 10 };

static const char request[] =
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

static unsigned long checksum(unsigned long sum, struct lt_span text) {
    return sum * 31 + text.n + (unsigned char)text.p[text.n / 2];
}

static bool once(struct lt_buf *out) {
    struct lt_arena arena;
    struct lt_h1_parser parser;
    struct lt_h1_head head;
    struct lt_framing framing;
    lt_arena_init(&arena, 2 * HEAD_MAX);
    bool ok = lt_h1_parser_init(&parser, &head, &arena, false, HEAD_MAX) &&
              lt_h1_parse(&parser, &head, request, sizeof request - 1) == LT_H1_DONE &&
              lt_framing_request(&head, &framing) == LT_H1_OK;
    if (ok) {
        struct lt_h1_out how = {.kind = framing.kind, .length = framing.length};
        lt_framing_strip(&head.headers);
        ok = lt_h1_write_request(out, &head, &how);
    }
    lt_arena_fini(&arena);
    return ok;
}

int main(int argc, char **argv) {
    char *end = NULL;
    long count = argc == 2 ? strtol(argv[1], &end, 10) : 0;
    if (count < 1 || *end) {
        fprintf(stderr, "usage: micro_head COUNT\n");
        return 2;
    }
    unsigned long sum = 0;
    struct lt_buf out;
    lt_buf_init(&out, HEAD_MAX);
    for (long i = 0; i < count; i++) {
        if (!once(&out)) {
            fprintf(stderr, "micro_head: the request was refused\n");
            return 1;
        }
        sum = checksum(sum, lt_buf_span(&out));
        lt_buf_consume(&out, out.len);
    }
    lt_buf_fini(&out);
    printf("%lx\n", sum);
    return 0;
}
