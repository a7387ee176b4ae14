// SPDX-License-Identifier: Apache-2.0
#include "modules/session/client.h"

enum { MARK = 2, ROOM = CLIENT_PART - MARK }; // "3~"

int client_part_of(struct lt_span name, struct lt_span cookie_name) {
    if (!lt_span_starts(name, cookie_name))
        return -1;
    struct lt_span rest = lt_span(name.p + cookie_name.n, name.n - cookie_name.n);
    if (rest.n == 0)
        return 0;
    return rest.n == 2 && rest.p[0] == '.' && rest.p[1] >= '1' && rest.p[1] < '0' + CLIENT_PARTS ? rest.p[1] - '0' : -1;
}

// How many parts the first one says there are.
static unsigned count(struct lt_span first) {
    bool marked = first.n > MARK && first.p[1] == '~' && first.p[0] >= '2' && first.p[0] <= '0' + CLIENT_PARTS;
    return marked ? (unsigned)(first.p[0] - '0') : 1;
}

struct lt_span client_join(const struct client_cookie *c, size_t max, struct lt_arena *arena) {
    unsigned parts = count(c->part[0]);
    size_t n = 0;
    if (parts == 1)
        return c->part[0].n <= max ? c->part[0] : lt_span(NULL, 0);
    for (unsigned i = 0; i < parts; n += c->part[i++].n)
        if (c->part[i].n == 0)
            return lt_span(NULL, 0);
    char *text = n - MARK <= max ? lt_arena_alloc(arena, n) : NULL, *p = text;
    if (!text)
        return lt_span(NULL, 0);
    for (unsigned i = 0; i < parts; i++)
        p = mempcpy(p, c->part[i].p, c->part[i].n);
    return lt_span(text + MARK, n - MARK);
}

unsigned client_split(struct lt_span value, struct client_cookie *c, struct lt_arena *arena) {
    *c = (struct client_cookie){.part = {value}};
    if (value.n <= CLIENT_PART)
        return 1;
    unsigned n = (unsigned)((value.n + MARK + CLIENT_PART - 1) / CLIENT_PART);
    c->part[0] = lt_arena_printf(arena, "%u~%.*s", n, ROOM, value.p);
    if (n > CLIENT_PARTS || !c->part[0].p)
        return 0;
    size_t at = ROOM;
    for (unsigned i = 1; i < n; i++, at += CLIENT_PART)
        c->part[i] = lt_span(value.p + at, value.n - at < CLIENT_PART ? value.n - at : CLIENT_PART);
    return n;
}

bool client_is_over(const struct lt_record *r, const struct client_limits *limits) {
    return limits->now > r->used + limits->idle_ttl || limits->now > r->created + limits->absolute_ttl;
}
