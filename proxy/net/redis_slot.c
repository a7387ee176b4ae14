// SPDX-License-Identifier: Apache-2.0
#include "net/redis_slot.h"

#include <stdio.h>

uint16_t lt_redis_crc16(struct lt_span s) {
    uint16_t crc = 0;
    for (size_t i = 0; i < s.n; i++) {
        crc = (uint16_t)(crc ^ (uint16_t)((unsigned char)s.p[i] << 8));
        for (unsigned bit = 0; bit < 8; bit++)
            crc = (uint16_t)(crc & 0x8000 ? (crc << 1) ^ 0x1021 : crc << 1);
    }
    return crc;
}

unsigned lt_redis_slot(struct lt_span key) {
    size_t open = lt_span_find(key, '{');
    if (open < key.n) {
        struct lt_span rest = lt_span(key.p + open + 1, key.n - open - 1);
        size_t close = lt_span_find(rest, '}');
        if (close < rest.n && close > 0)
            key = lt_span(rest.p, close);
    }
    return lt_redis_crc16(key) % LT_REDIS_SLOTS;
}

bool lt_redis_join(struct lt_span host, struct lt_span port, struct lt_span from, char address[LT_ADDRESS_TEXT]) {
    struct lt_span from_host, from_port;
    if ((host.n == 0 || lt_span_eq(host, LT_S("?"))) && lt_host_port(from, &from_host, &from_port))
        host = from_host;
    bool bare_v6 = lt_span_find(host, ':') < host.n && host.p[0] != '[';
    int n = snprintf(address, LT_ADDRESS_TEXT, bare_v6 ? "[%.*s]:%.*s" : "%.*s:%.*s", (int)host.n, host.p, (int)port.n,
                     port.p);
    return n > 0 && n < LT_ADDRESS_TEXT && host.n && !lt_address_check(lt_span_cstr(address));
}

static struct lt_span word(struct lt_span *rest) {
    size_t blank = lt_span_find(*rest, ' ');
    struct lt_span w = lt_span(rest->p, blank);
    *rest = blank < rest->n ? lt_span(rest->p + blank + 1, rest->n - blank - 1) : lt_span(rest->p + rest->n, 0);
    return w;
}

enum lt_redis_redirect lt_redis_redirect(struct lt_span error, struct lt_span from, unsigned *slot,
                                         char address[LT_ADDRESS_TEXT]) {
    struct lt_span kind = word(&error), number = word(&error), where = word(&error);
    enum lt_redis_redirect r = lt_span_eq(kind, LT_S("MOVED")) ? LT_REDIS_MOVED
                               : lt_span_eq(kind, LT_S("ASK")) ? LT_REDIS_ASK
                                                               : LT_REDIS_STAY;
    unsigned long long n;
    size_t colon = where.n;
    while (colon > 0 && where.p[colon - 1] != ':')
        colon--;
    if (r == LT_REDIS_STAY || colon == 0 || !lt_span_to_u64(number, LT_REDIS_SLOTS - 1, &n))
        return LT_REDIS_STAY;
    *slot = (unsigned)n;
    struct lt_span host = lt_span(where.p, colon - 1), port = lt_span(where.p + colon, where.n - colon);
    return lt_redis_join(host, port, from, address) ? r : LT_REDIS_STAY;
}
