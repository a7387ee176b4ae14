// SPDX-License-Identifier: Apache-2.0
#include "store/memcached_servers.h"

#include "base/arena.h"
#include "store/effort.h"

static uint64_t mix(uint64_t h, struct lt_span s) {
    for (size_t i = 0; i < s.n; i++)
        h = (h ^ (unsigned char)s.p[i]) * 0x100000001b3; // FNV-1a
    h ^= h >> 31;
    h *= 0x94d049bb133111eb;
    return h ^ h >> 29;
}

struct lt_memcached *lt_memcached_servers_find(const struct lt_memcached_servers *m, const char *hash) {
    uint64_t best = 0;
    unsigned at = 0;
    for (unsigned i = 0; i < m->n; i++) {
        uint64_t score = mix(m->names[i], lt_span_cstr(hash));
        if (score >= best) {
            best = score;
            at = i;
        }
    }
    return m->clients[at];
}

bool lt_memcached_servers_is_open(const struct lt_memcached_servers *m) {
    for (unsigned i = 0; i < m->n; i++)
        if (lt_memcached_is_open(m->clients[i]))
            return true;
    return false;
}

// --- the URL ---

// Takes the next server off the URL's list, as host:port in the arena. False: none is left. `.p` NULL: malformed.
static bool next_server(struct lt_span *list, struct lt_arena *arena, struct lt_span *address) {
    struct lt_span host, port;
    if (list->n == 0)
        return false;
    size_t comma = lt_span_find(*list, ',');
    struct lt_span one = lt_span(list->p, comma);
    *list = comma < list->n ? lt_span(list->p + comma + 1, list->n - comma - 1) : LT_S("");
    *address = lt_host_port(one, &host, &port) ? lt_arena_dup(arena, one)
                                               : lt_arena_printf(arena, "%.*s:11211", (int)one.n, one.p);
    if (one.n == 0 || one.p[0] == ':' || !address->p || lt_address_check(*address))
        *address = lt_span(NULL, 0);
    return true;
}

static struct lt_span servers_of(struct lt_span url) {
    static const struct lt_span scheme = {"memcached://", 12};
    struct lt_span rest = lt_span(url.p + scheme.n, url.n - scheme.n);
    return rest.n && rest.p[rest.n - 1] == '/' ? lt_span(rest.p, rest.n - 1) : rest;
}

const char *lt_memcached_servers_check(struct lt_span url) {
    static const char how[] =
        "write \"memcached://host:port\", or several servers: \"memcached://one:11211,two:11211\"";
    struct lt_arena arena;
    struct lt_span list = servers_of(url), address;
    unsigned n = 0;
    bool ok = true;
    lt_arena_init(&arena, 16384);
    while (ok && next_server(&list, &arena, &address))
        ok = address.p && ++n <= LT_MEMCACHED_SERVERS;
    lt_arena_fini(&arena);
    return ok && n ? NULL : how;
}

void lt_memcached_servers_fini(struct lt_memcached_servers *m) {
    for (unsigned i = 0; i < m->n; i++)
        lt_memcached_free(m->clients[i]);
    m->n = 0;
}

bool lt_memcached_servers_init(struct lt_memcached_servers *m, const struct lt_store_options *o, size_t value_max,
                               struct lt_store *store) {
    struct lt_arena arena;
    struct lt_span list = servers_of(o->url), address;
    bool ok = true;
    m->n = 0;
    lt_arena_init(&arena, 16384);
    while (ok && m->n < LT_MEMCACHED_SERVERS && next_server(&list, &arena, &address)) {
        m->names[m->n] = mix(0xcbf29ce484222325, address);
        m->clients[m->n] = lt_memcached_new(o->loop, address, o->timeout, value_max);
        ok = m->clients[m->n] != NULL;
        if (ok)
            lt_memcached_on_breaker(m->clients[m->n++], lt_store_effort_on_breaker, store);
    }
    lt_arena_fini(&arena);
    if (!ok)
        lt_memcached_servers_fini(m);
    return ok;
}
