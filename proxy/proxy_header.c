// SPDX-License-Identifier: Apache-2.0
#include "proxy_header.h"

#include <arpa/inet.h>
#include <stdio.h>

enum { V1_MAX = 107, V2_FIXED = 16, V2_MAX = V2_FIXED + 2048 };

static const char v2_signature[12] = {'\r', '\n', '\r', '\n', 0, '\r', '\n', 'Q', 'U', 'I', 'T', '\n'};

static bool next_word(struct lt_span *line, struct lt_span *word) {
    size_t n = lt_span_find(*line, ' ');
    *word = lt_span(line->p, n);
    size_t step = n < line->n ? n + 1 : n;
    *line = lt_span(line->p + step, line->n - step);
    return word->n > 0;
}

static bool read_address(struct lt_span host, struct lt_span port, bool v6, struct lt_address *a) {
    char text[V1_MAX + 8];
    int n = snprintf(text, sizeof text, v6 ? "[%.*s]:%.*s" : "%.*s:%.*s", (int)host.n, host.p, (int)port.n, port.p);
    return lt_address_parse(lt_span(text, (size_t)n), a) && a->u.sa.sa_family == (v6 ? AF_INET6 : AF_INET);
}

// "PROXY TCP4 source destination sport dport"
static enum lt_proxy_status version_1(struct lt_span line, struct lt_address *named) {
    struct lt_span family, source, destination, source_port, destination_port;
    if (!next_word(&line, &family))
        return LT_PROXY_BAD;
    if (lt_span_eq(family, LT_S("UNKNOWN")))
        return LT_PROXY_LOCAL;
    bool v6 = lt_span_eq(family, LT_S("TCP6"));
    if ((!v6 && !lt_span_eq(family, LT_S("TCP4"))) || !next_word(&line, &source) || !next_word(&line, &destination) ||
        !next_word(&line, &source_port) || !next_word(&line, &destination_port) || line.n)
        return LT_PROXY_BAD;
    struct lt_address to;
    bool ok = read_address(source, source_port, v6, named) && read_address(destination, destination_port, v6, &to);
    return ok ? LT_PROXY_NAMED : LT_PROXY_BAD;
}

static enum lt_proxy_status version_2(struct lt_span data, size_t *size, struct lt_address *named) {
    if (data.n < V2_FIXED)
        return LT_PROXY_MORE;
    const unsigned char *b = (const unsigned char *)data.p;
    size_t length = (size_t)b[14] << 8 | b[15];
    unsigned command = b[12] & 15, family = b[13];
    if (b[12] >> 4 != 2 || command > 1 || length > V2_MAX - V2_FIXED)
        return LT_PROXY_BAD;
    if (data.n < V2_FIXED + length)
        return LT_PROXY_MORE;
    *size = V2_FIXED + length;
    if (command == 0 || (family != 0x11 && family != 0x21))
        return LT_PROXY_LOCAL;
    memset(named, 0, sizeof *named);
    if (family == 0x11 && length >= 12) {
        named->u.v4.sin_family = AF_INET;
        memcpy(&named->u.v4.sin_addr, b + 16, 4);
        memcpy(&named->u.v4.sin_port, b + 24, 2);
        named->size = sizeof named->u.v4;
        return LT_PROXY_NAMED;
    }
    if (family == 0x21 && length >= 36) {
        named->u.v6.sin6_family = AF_INET6;
        memcpy(&named->u.v6.sin6_addr, b + 16, 16);
        memcpy(&named->u.v6.sin6_port, b + 48, 2);
        named->size = sizeof named->u.v6;
        return LT_PROXY_NAMED;
    }
    return LT_PROXY_BAD;
}

enum lt_proxy_status lt_proxy_header(struct lt_span data, size_t *size, struct lt_address *named) {
    size_t signature = data.n < sizeof v2_signature ? data.n : sizeof v2_signature;
    if (data.n && memcmp(data.p, v2_signature, signature) == 0)
        return signature < sizeof v2_signature ? LT_PROXY_MORE : version_2(data, size, named);
    size_t word = data.n < 6 ? data.n : 6;
    if (memcmp(data.p, "PROXY ", word) != 0)
        return LT_PROXY_BAD;
    size_t newline = lt_span_find(data, '\n');
    if (newline == data.n)
        return data.n > V1_MAX ? LT_PROXY_BAD : LT_PROXY_MORE;
    if (newline < 7 || newline >= V1_MAX || data.p[newline - 1] != '\r')
        return LT_PROXY_BAD;
    *size = newline + 1;
    return version_1(lt_span(data.p + 6, newline - 7), named);
}
