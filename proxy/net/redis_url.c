// SPDX-License-Identifier: Apache-2.0
#include "net/redis_url.h"

static const struct scheme {
    const char *text;
    enum lt_redis_kind kind;
    bool tls, local;
    unsigned port; // where the URL names none
    const char *how;
} schemes[] = {
#define SENTINEL_URL "+sentinel://user:password@host1:26379,host2:26379,host3:26379/mymaster/0\""
#define CLUSTER_URL "+cluster://user:password@host1:6379,host2:6379/\""
    {"redis://", LT_REDIS_SINGLE, false, false, 6379,
     "write \"redis://host:port/db\" or \"redis://user:password@host:port/db\""},
    {"rediss://", LT_REDIS_SINGLE, true, false, 6379,
     "write \"rediss://host:port/db\" or \"rediss://user:password@host:port/db\""},
    {"redis+unix://", LT_REDIS_SINGLE, false, true, 0, "write \"redis+unix:///path?db=0\" or \"redis://host:port/db\""},
    {"redis+sentinel://", LT_REDIS_SENTINEL, false, false, 26379, "write \"redis" SENTINEL_URL},
    {"rediss+sentinel://", LT_REDIS_SENTINEL, true, false, 26379, "write \"rediss" SENTINEL_URL},
    {"redis+cluster://", LT_REDIS_CLUSTER, false, false, 6379, "write \"redis" CLUSTER_URL ": a cluster has no databases"},
    {"rediss+cluster://", LT_REDIS_CLUSTER, true, false, 6379,
     "write \"rediss" CLUSTER_URL ": a cluster has no databases"},
};

static const char how[] =
    "write \"redis://host:port/db\", \"redis://user:password@host:port/db\" (\"rediss://\" with TLS), "
    "\"redis+unix:///path?db=0\", \"redis+sentinel://host:port,host:port/mymaster/db\" or "
    "\"redis+cluster://host:port,host:port/\"";

static struct lt_span behind(struct lt_span s, size_t n) {
    return n < s.n ? lt_span(s.p + n, s.n - n) : lt_span(s.p + s.n, 0);
}

// Percent-decodes into the arena. `.p` NULL: malformed, or no memory.
static struct lt_span decode(struct lt_arena *arena, struct lt_span s) {
    char *out = lt_arena_alloc(arena, s.n + 1);
    size_t n;
    if (!out || !lt_span_percent_decode(s, out, s.n, &n))
        return lt_span(NULL, 0);
    out[n] = '\0';
    return lt_span(out, n);
}

static bool database(struct lt_span text, struct lt_redis_place *place) {
    unsigned long long db = 0;
    if (text.n && !lt_span_to_u64(text, LT_REDIS_DATABASES, &db))
        return false;
    place->database = (unsigned)db;
    return true;
}

static bool credentials(struct lt_span text, struct lt_arena *arena, struct lt_redis_place *place) {
    size_t colon = lt_span_find(text, ':');
    if (colon == text.n)
        return false;
    place->user = decode(arena, lt_span(text.p, colon));
    place->password = decode(arena, behind(text, colon + 1));
    return place->user.p && place->password.p;
}

static bool local_place(struct lt_span rest, struct lt_arena *arena, struct lt_redis_place *place) {
    size_t question = lt_span_find(rest, '?');
    struct lt_span path = lt_span(rest.p, question), query = behind(rest, question);
    if (query.n && !lt_span_starts(query, LT_S("?db=")))
        return false;
    if (query.n && !database(behind(query, 4), place))
        return false;
    place->seeds[0] = lt_arena_printf(arena, "unix:%.*s", (int)path.n, path.p);
    place->n_seeds = 1;
    return path.n && path.p[0] == '/' && place->seeds[0].p && !lt_address_check(place->seeds[0]);
}

static bool add_seed(struct lt_span text, unsigned port, struct lt_arena *arena, struct lt_redis_place *place) {
    struct lt_span host, number;
    if (text.n == 0 || text.p[0] == ':' || place->n_seeds == LT_REDIS_SEEDS)
        return false;
    struct lt_span seed = lt_host_port(text, &host, &number)
                              ? lt_arena_dup(arena, text)
                              : lt_arena_printf(arena, "%.*s:%u", (int)text.n, text.p, port);
    place->seeds[place->n_seeds++] = seed;
    return seed.p && !lt_address_check(seed);
}

static bool seeds(struct lt_span list, unsigned port, struct lt_arena *arena, struct lt_redis_place *place) {
    for (;;) {
        size_t comma = lt_span_find(list, ',');
        if (!add_seed(lt_span(list.p, comma), port, arena, place))
            return false;
        if (comma == list.n)
            return true;
        list = behind(list, comma + 1);
    }
}

// Behind the hosts: "db", "master/db" or nothing.
static bool path(struct lt_span text, struct lt_arena *arena, struct lt_redis_place *place) {
    if (place->kind == LT_REDIS_CLUSTER)
        return text.n == 0;
    if (place->kind == LT_REDIS_SINGLE)
        return place->n_seeds == 1 && database(text, place);
    size_t slash = lt_span_find(text, '/');
    place->master = decode(arena, lt_span(text.p, slash));
    return place->master.n && database(behind(text, slash + 1), place);
}

static bool network_place(struct lt_span rest, unsigned port, struct lt_arena *arena, struct lt_redis_place *place) {
    size_t at = rest.n;
    while (at > 0 && rest.p[at - 1] != '@')
        at--;
    if (at > 0 && !credentials(lt_span(rest.p, at - 1), arena, place))
        return false;
    rest = behind(rest, at);
    size_t slash = lt_span_find(rest, '/');
    return seeds(lt_span(rest.p, slash), port, arena, place) && path(behind(rest, slash + 1), arena, place);
}

bool lt_redis_url(struct lt_span url, struct lt_arena *arena, struct lt_redis_place *place, const char **error) {
    *place = (struct lt_redis_place){0};
    *error = how;
    for (unsigned i = 0; i < sizeof schemes / sizeof *schemes; i++) {
        const struct scheme *s = &schemes[i];
        struct lt_span text = lt_span_cstr(s->text);
        if (!lt_span_starts(url, text))
            continue;
        *error = s->how;
        place->kind = s->kind;
        place->tls = s->tls;
        return s->local ? local_place(behind(url, text.n), arena, place)
                        : network_place(behind(url, text.n), s->port, arena, place);
    }
    return false;
}
