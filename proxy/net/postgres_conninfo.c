// SPDX-License-Identifier: Apache-2.0
#include "net/postgres_conninfo.h"

#include "net/address.h"
#include "net/postgres_library.h"

#include <stdio.h>
#include <stdlib.h>

// One host of the URL; without a target: a unix socket's directory.
struct host {
    struct lt_span name, port;
    struct lt_target *target;
};

struct lt_pg_conninfo {
    PQconninfoOption *options;
    unsigned n; // 0: libpq's default, a unix socket, or addresses that the URL names itself
    struct host hosts[LT_PG_HOSTS];
};

static const char *option(const struct lt_pg_conninfo *c, const char *key) {
    for (const PQconninfoOption *o = c->options; o->keyword; o++)
        if (strcmp(o->keyword, key) == 0)
            return o->val && *o->val ? o->val : NULL;
    return NULL;
}

static struct lt_span next(struct lt_span *list) {
    size_t comma = lt_span_find(*list, ',');
    struct lt_span element = lt_span(list->p, comma);
    *list = comma < list->n ? lt_span(list->p + comma + 1, list->n - comma - 1) : lt_span("", 0);
    return element;
}

// As many ports as hosts, or one for all. False: too many hosts, or a port is no number.
static bool split_hosts(struct lt_pg_conninfo *c) {
    struct lt_span hosts = lt_span_cstr(option(c, "host")), ports = lt_span_cstr(option(c, "port")), port = LT_S("");
    unsigned long long number;
    bool one_port = lt_span_find(ports, ',') == ports.n;
    if (option(c, "hostaddr"))
        return true;
    while (hosts.n) {
        struct lt_span name = next(&hosts);
        if (c->n == 0 || !one_port)
            port = next(&ports);
        port = port.n ? port : LT_S("5432");
        if (c->n == LT_PG_HOSTS || !lt_span_to_u64(port, 65535, &number))
            return false;
        c->hosts[c->n++] = (struct host){.name = name, .port = port};
    }
    return true;
}

struct lt_pg_conninfo *lt_pg_conninfo_new(struct lt_span url) {
    struct lt_pg_conninfo *c = calloc(1, sizeof *c);
    char *text = malloc(url.n + 1), *error = NULL;
    if (c && text && !lt_pq_load()) {
        memcpy(text, url.p, url.n);
        text[url.n] = '\0';
        c->options = lt_pq.PQconninfoParse(text, &error);
    }
    if (error)
        lt_pq.PQfreemem(error);
    free(text);
    if (c && c->options && split_hosts(c))
        return c;
    lt_pg_conninfo_free(c);
    return NULL;
}

void lt_pg_conninfo_free(struct lt_pg_conninfo *c) {
    if (!c)
        return;
    for (unsigned i = 0; i < c->n; i++)
        lt_target_put(c->hosts[i].target);
    if (c->options)
        lt_pq.PQconninfoFree(c->options);
    free(c);
}

static bool is_local(const struct host *h) {
    return h->name.n == 0 || h->name.p[0] == '/' || h->name.p[0] == '@';
}

bool lt_pg_conninfo_resolve(struct lt_pg_conninfo *c) {
    char text[LT_PG_HOSTS_TEXT];
    for (unsigned i = 0; i < c->n; i++) {
        struct host *h = &c->hosts[i];
        bool v6 = lt_span_find(h->name, ':') < h->name.n;
        int n = snprintf(text, sizeof text, v6 ? "[%.*s]:%.*s" : "%.*s:%.*s", (int)h->name.n, h->name.p, (int)h->port.n,
                         h->port.p);
        if (!is_local(h))
            h->target = lt_target_get(lt_span(text, (size_t)n));
        if (!is_local(h) && !h->target)
            return false;
    }
    return true;
}

// Behind a comma when it is not the first. False: no room.
static bool append(char *list, bool first, struct lt_span element) {
    size_t at = strlen(list);
    int n = snprintf(list + at, LT_PG_HOSTS_TEXT - at, "%s%.*s", first ? "" : ",", (int)element.n, element.p);
    return n >= 0 && (size_t)n < LT_PG_HOSTS_TEXT - at;
}

// Hosts without an address are left out.
static enum lt_err list_hosts(struct lt_pg_conninfo *c, unsigned turn, struct lt_pg_parameters *out) {
    unsigned n = 0;
    for (unsigned i = 0; i < c->n; i++) {
        const struct host *h = &c->hosts[i];
        struct lt_address a;
        char text[LT_ADDRESS_TEXT];
        struct lt_span address = lt_span("", 0);
        if (h->target && lt_target_address(h->target, turn, &a) != LT_OK)
            continue;
        struct lt_ip ip = h->target ? lt_address_ip(&a) : (struct lt_ip){0};
        if (h->target)
            address = lt_ip_text(&ip, text);
        if (!append(out->hosts, n == 0, h->name) || !append(out->addresses, n == 0, address) ||
            !append(out->ports, n == 0, h->port))
            return LT_ERR_LIMIT;
        n++;
    }
    return n ? LT_OK : LT_ERR_RESOLVE;
}

static void set(struct lt_pg_parameters *out, unsigned *n, const char *key, const char *value) {
    if (*n + 1 < LT_PG_PARAMETERS) {
        out->keys[*n] = key;
        out->values[(*n)++] = value;
    }
}

enum lt_err lt_pg_conninfo_parameters(struct lt_pg_conninfo *c, unsigned turn, struct lt_pg_parameters *out) {
    unsigned n = 0;
    memset(out, 0, sizeof *out);
    enum lt_err e = c->n ? list_hosts(c, turn, out) : LT_OK;
    if (e != LT_OK)
        return e;
    if (!option(c, "fallback_application_name"))
        set(out, &n, "fallback_application_name", "lethe");
    if (!option(c, "gssencmode")) // looking for a Kerberos ticket would make the loop wait
        set(out, &n, "gssencmode", "disable");
    for (const PQconninfoOption *o = c->options; o->keyword; o++) {
        bool ours = c->n && (strcmp(o->keyword, "host") == 0 || strcmp(o->keyword, "port") == 0);
        if (o->val && *o->val && !ours)
            set(out, &n, o->keyword, o->val);
    }
    if (c->n) {
        set(out, &n, "host", out->hosts);
        set(out, &n, "hostaddr", out->addresses);
        set(out, &n, "port", out->ports);
    }
    return LT_OK;
}

const char *lt_pg_conninfo_where(const struct lt_pg_conninfo *c) {
    const char *address = option(c, "hostaddr"), *host = option(c, "host");
    return host ? host : address ? address : "local socket";
}
