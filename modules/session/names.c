// SPDX-License-Identifier: Apache-2.0
#include "modules/session/names.h"

static const struct {
    const char *name;
    enum cookie_kind kind;
} known[] = {
    {"PHPSESSID", COOKIE_ID},
    {"JSESSIONID", COOKIE_ID},
    {"connect.sid", COOKIE_ID},
    {"sails.sid", COOKIE_ID},
    {"beegosessionID", COOKIE_ID},
    {"session_id", COOKIE_ID}, // CherryPy
    {"sessionid", COOKIE_ID},  // Django
    {"ASP.NET_SessionId", COOKIE_ID},
    {".AspNetCore.Session", COOKIE_ID},
    {"plack_session", COOKIE_ID},
    {"dancer.session", COOKIE_ID},
    {"CGISESSID", COOKIE_ID},
    {"rack.session", COOKIE_REISSUED},
    {"laravel_session", COOKIE_REISSUED}, // the id encrypted anew each time
    {"ci_session", COOKIE_REISSUED},      // set with every answer; its id rotates by itself
};

static bool matches(struct lt_span name, struct lt_span pattern) {
    if (pattern.n && pattern.p[pattern.n - 1] == '*')
        return lt_span_starts(name, lt_span(pattern.p, pattern.n - 1));
    return lt_span_eq(name, pattern);
}

enum cookie_kind cookie_kind(struct lt_span name, const struct lt_option_list *extra) {
    for (unsigned i = 0; i < sizeof known / sizeof *known; i++)
        if (lt_span_eq(name, lt_span_cstr(known[i].name)))
            return known[i].kind;
    for (unsigned i = 0; i < extra->n; i++)
        if (matches(name, extra->v[i]))
            return extra->v[i].n == 1 ? COOKIE_REISSUED : COOKIE_ID;
    return COOKIE_OTHER;
}
