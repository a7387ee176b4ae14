// SPDX-License-Identifier: Apache-2.0
// lethe's own cookies at the client: a token, or the parts of a record.
#include "modules/session/state.h"

#include "base/clock.h"

static enum lt_verdict set_cookie(struct lt_call *c, unsigned part, struct lt_span value, int64_t max_age) {
    struct lt_span name = session_conf(c)->cookie_name;
    bool https = lt_call_is_https(c);
    struct lt_arena *arena = lt_call_arena(c);
    struct lt_span suffix = part ? lt_arena_printf(arena, ".%u", part) : LT_S("");
    struct lt_span age = max_age < 0 ? LT_S("") : lt_arena_printf(arena, "; Max-Age=%lld", (long long)max_age);
    struct lt_span text =
        lt_arena_printf(arena, "%s%.*s%.*s=%.*s; Path=/; HttpOnly; SameSite=Lax%s%.*s", https ? "__Host-" : "",
                        (int)name.n, name.p, (int)suffix.n, suffix.p ? suffix.p : "", (int)value.n,
                        value.n ? value.p : "", https ? "; Secure" : "", (int)age.n, age.p ? age.p : "");
    bool ok = suffix.p && age.p && text.p && lt_headers_add_id(&lt_call_response(c)->headers, LT_HDR_SET_COOKIE, text);
    return ok ? LT_NEXT : lt_call_fail(c, 503, "memory");
}

// Parts that the client has, from `first` on, belong to nothing any more.
static enum lt_verdict drop_parts(struct lt_call *c, unsigned first) {
    const struct session_call *st = c->state;
    enum lt_verdict v = LT_NEXT;
    for (unsigned i = first; v == LT_NEXT && i < CLIENT_PARTS; i++)
        if (st->cookie.part[i].n)
            v = set_cookie(c, i, LT_S(""), 0);
    return v;
}

enum lt_verdict session_give_value(struct lt_call *c, struct lt_span value) {
    struct session_call *st = c->state;
    struct client_cookie parts;
    int64_t until = jar_persists_until(st->session.record), now = lt_clock_wall();
    unsigned n = client_split(value, &parts, lt_call_arena(c));
    if (n == 0)
        return lt_call_fail(c, 503, "memory");
    enum lt_verdict v = LT_NEXT;
    for (unsigned i = 0; v == LT_NEXT && i < n; i++)
        v = set_cookie(c, i, parts.part[i], until > now ? (until - now) / 1000 : -1);
    return v == LT_NEXT ? drop_parts(c, n) : v;
}

enum lt_verdict session_give_token(struct lt_call *c) {
    struct session_call *st = c->state;
    char text[LT_TOKEN_TEXT + 1];
    lt_token_format(&st->at.token, text);
    return session_give_value(c, lt_span_cstr(text));
}

enum lt_verdict session_drop_cookie(struct lt_call *c) {
    enum lt_verdict v = set_cookie(c, 0, LT_S(""), 0);
    return v == LT_NEXT ? drop_parts(c, 1) : v;
}
