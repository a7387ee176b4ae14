// SPDX-License-Identifier: Apache-2.0
#include "net/address.h"

#include <arpa/inet.h>
#include <stddef.h>
#include <stdio.h>

bool lt_host_port(struct lt_span text, struct lt_span *host, struct lt_span *port) {
    size_t colon = text.n;
    while (colon > 0 && text.p[colon - 1] != ':')
        colon--;
    if (colon == 0)
        return false;
    *host = lt_span(text.p, colon - 1);
    *port = lt_span(text.p + colon, text.n - colon);
    if (host->n >= 2 && host->p[0] == '[' && host->p[host->n - 1] == ']')
        *host = lt_span(host->p + 1, host->n - 2);
    else if (lt_span_find(*host, ':') < host->n)
        return false;
    unsigned long long number;
    return host->n > 0 && lt_span_to_u64(*port, 65535, &number);
}

static bool is_unix(struct lt_span text, struct lt_span *path) {
    if (!lt_span_starts(text, LT_S("unix:")))
        return false;
    *path = lt_span(text.p + 5, text.n - 5);
    return true;
}

// What no host name and no address has.
static bool has_stray(struct lt_span host) {
    for (size_t i = 0; i < host.n; i++)
        if ((unsigned char)host.p[i] <= ' ' || strchr("/@?#\"'\\", host.p[i]))
            return true;
    return false;
}

const char *lt_address_check(struct lt_span text) {
    struct lt_span host, port;
    if (is_unix(text, &host))
        return host.n > 0 && host.n < sizeof((struct sockaddr_un *)0)->sun_path
                   ? NULL
                   : "write \"unix:/path/to/socket\" with a path of at most 107 bytes";
    return lt_host_port(text, &host, &port) && !has_stray(host)
               ? NULL
               : "write \"host:port\" (\"127.0.0.1:8080\", \"[::1]:8080\") or \"unix:/path\"";
}

static bool to_cstr(struct lt_span s, char *out, size_t size) {
    if (s.n >= size)
        return false;
    memcpy(out, s.p, s.n);
    out[s.n] = '\0';
    return true;
}

bool lt_address_parse(struct lt_span text, struct lt_address *a) {
    struct lt_span host, port;
    char name[64];
    unsigned long long number;
    memset(a, 0, sizeof *a);
    if (is_unix(text, &host)) {
        if (host.n == 0 || host.n >= sizeof a->u.local.sun_path)
            return false;
        a->u.local.sun_family = AF_UNIX;
        memcpy(a->u.local.sun_path, host.p, host.n);
        a->size = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + host.n + 1);
        return true;
    }
    if (!lt_host_port(text, &host, &port) || !to_cstr(host, name, sizeof name) || !lt_span_to_u64(port, 65535, &number))
        return false;
    if (inet_pton(AF_INET, name, &a->u.v4.sin_addr) == 1) {
        a->u.v4.sin_family = AF_INET;
        a->u.v4.sin_port = htons((uint16_t)number);
        a->size = sizeof a->u.v4;
        return true;
    }
    if (inet_pton(AF_INET6, name, &a->u.v6.sin6_addr) == 1) {
        a->u.v6.sin6_family = AF_INET6;
        a->u.v6.sin6_port = htons((uint16_t)number);
        a->size = sizeof a->u.v6;
        return true;
    }
    return false;
}

struct lt_ip lt_address_ip(const struct lt_address *a) {
    struct lt_ip ip = {.family = a->u.sa.sa_family};
    if (ip.family == AF_INET) {
        memcpy(ip.bytes, &a->u.v4.sin_addr, 4);
    } else if (ip.family == AF_INET6 && IN6_IS_ADDR_V4MAPPED(&a->u.v6.sin6_addr)) {
        ip.family = AF_INET;
        memcpy(ip.bytes, a->u.v6.sin6_addr.s6_addr + 12, 4);
    } else if (ip.family == AF_INET6) {
        memcpy(ip.bytes, &a->u.v6.sin6_addr, 16);
    }
    return ip;
}

// Every request says its client's address: inet_ntop() would format it with sprintf().
static struct lt_span v4_text(const unsigned char bytes[4], char *out) {
    size_t n = 0;
    for (unsigned i = 0; i < 4; i++) {
        char digits[LT_NUMBER_TEXT];
        struct lt_span number = lt_span_number(digits, bytes[i]);
        memcpy(out + n, number.p, number.n);
        n += number.n;
        out[n++] = i < 3 ? '.' : '\0';
    }
    return lt_span(out, n - 1);
}

struct lt_span lt_ip_text(const struct lt_ip *ip, char out[LT_ADDRESS_TEXT]) {
    if (ip->family == AF_INET)
        return v4_text(ip->bytes, out);
    if (ip->family == AF_INET6 && inet_ntop(AF_INET6, ip->bytes, out, LT_ADDRESS_TEXT))
        return lt_span_cstr(out);
    memcpy(out, "unix", 5);
    return lt_span(out, 4);
}

const char *lt_address_format(const struct lt_address *a, char out[LT_ADDRESS_TEXT]) {
    char host[LT_ADDRESS_TEXT];
    struct lt_ip ip = lt_address_ip(a);
    if (a->u.sa.sa_family == AF_UNIX)
        snprintf(out, LT_ADDRESS_TEXT, "unix:%s", a->u.local.sun_path);
    else if (a->u.sa.sa_family == AF_INET)
        snprintf(out, LT_ADDRESS_TEXT, "%.64s:%u", lt_ip_text(&ip, host).p, ntohs(a->u.v4.sin_port));
    else
        snprintf(out, LT_ADDRESS_TEXT, "[%.64s]:%u", lt_ip_text(&ip, host).p, ntohs(a->u.v6.sin6_port));
    return out;
}

bool lt_cidr_parse(struct lt_span text, struct lt_cidr *c) {
    char name[64];
    size_t slash = lt_span_find(text, '/');
    *c = (struct lt_cidr){.family = AF_UNIX};
    if (lt_span_eq(text, LT_S("unix")))
        return true;
    if (!to_cstr(lt_span(text.p, slash), name, sizeof name))
        return false;
    c->family = inet_pton(AF_INET, name, c->bytes) == 1    ? AF_INET
                : inet_pton(AF_INET6, name, c->bytes) == 1 ? AF_INET6
                                                           : 0;
    unsigned long long bits = c->family == AF_INET ? 32 : 128;
    if (c->family == 0 ||
        (slash < text.n && !lt_span_to_u64(lt_span(text.p + slash + 1, text.n - slash - 1), bits, &bits)))
        return false;
    c->bits = (unsigned)bits;
    return true;
}

const char *lt_cidr_check(struct lt_span text) {
    struct lt_cidr c;
    return lt_cidr_parse(text, &c) ? NULL : "write an address or a block (\"10.0.0.0/8\", \"::1\"), or \"unix\"";
}

bool lt_cidr_holds(const struct lt_cidr *c, const struct lt_ip *ip) {
    if (ip->family != c->family)
        return false;
    if (ip->family == AF_UNIX)
        return true;
    unsigned whole = c->bits / 8, rest = c->bits % 8;
    if (memcmp(ip->bytes, c->bytes, whole) != 0)
        return false;
    return rest == 0 || ((ip->bytes[whole] ^ c->bytes[whole]) >> (8 - rest)) == 0;
}
