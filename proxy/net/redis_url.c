// SPDX-License-Identifier: Apache-2.0
#include "net/redis.h"

static const char how[] = "write \"redis://host:port/db\", \"redis://user:password@host:port/db\" or "
                          "\"redis+unix:///path?db=0\"";

// Percent-decodes into the arena. `.p` NULL: malformed, or no memory.
static struct lt_span decode(struct lt_arena *arena, struct lt_span s) {
    char *out = lt_arena_alloc(arena, s.n + 1);
    size_t n;
    return out && lt_span_percent_decode(s, out, s.n, &n) ? lt_span(out, n) : lt_span(NULL, 0);
}

static bool database(struct lt_span text, struct lt_redis_options *o) {
    unsigned long long db = 0;
    if (text.n && !lt_span_to_u64(text, 65535, &db))
        return false;
    o->database = (unsigned)db;
    return true;
}

static bool credentials(struct lt_span text, struct lt_arena *arena, struct lt_redis_options *o) {
    size_t colon = lt_span_find(text, ':');
    if (colon == text.n)
        return false;
    o->user = decode(arena, lt_span(text.p, colon));
    o->password = decode(arena, lt_span(text.p + colon + 1, text.n - colon - 1));
    return o->user.p && o->password.p;
}

static bool local_url(struct lt_span rest, struct lt_arena *arena, struct lt_redis_options *o) {
    size_t question = lt_span_find(rest, '?');
    struct lt_span path = lt_span(rest.p, question);
    struct lt_span query = lt_span(rest.p + question, rest.n - question);
    if (query.n && !lt_span_starts(query, LT_S("?db=")))
        return false;
    if (query.n && !database(lt_span(query.p + 4, query.n - 4), o))
        return false;
    o->address = lt_arena_printf(arena, "unix:%.*s", (int)path.n, path.p);
    return path.n && path.p[0] == '/' && o->address.p && !lt_address_check(o->address);
}

static bool tcp_url(struct lt_span rest, struct lt_arena *arena, struct lt_redis_options *o) {
    size_t at = rest.n;
    while (at > 0 && rest.p[at - 1] != '@')
        at--;
    if (at > 0 && !credentials(lt_span(rest.p, at - 1), arena, o))
        return false;
    rest = lt_span(rest.p + at, rest.n - at);
    size_t slash = lt_span_find(rest, '/');
    if (slash < rest.n && !database(lt_span(rest.p + slash + 1, rest.n - slash - 1), o))
        return false;
    struct lt_span address = lt_span(rest.p, slash), host, port;
    if (address.n == 0 || address.p[0] == ':')
        return false;
    o->address = lt_host_port(address, &host, &port) ? lt_arena_dup(arena, address)
                                                     : lt_arena_printf(arena, "%.*s:6379", (int)address.n, address.p);
    return o->address.p && !lt_address_check(o->address);
}

bool lt_redis_url(struct lt_span url, struct lt_arena *arena, struct lt_redis_options *o, const char **error) {
    *o = (struct lt_redis_options){0};
    *error = how;
    if (lt_span_starts(url, LT_S("redis+unix://")))
        return local_url(lt_span(url.p + 13, url.n - 13), arena, o);
    if (lt_span_starts(url, LT_S("redis://")))
        return tcp_url(lt_span(url.p + 8, url.n - 8), arena, o);
    return false;
}
