// SPDX-License-Identifier: Apache-2.0
#include "modules/session/names.h"

static bool pattern_matches(struct lt_span pattern, struct lt_span text) {
    if (pattern.n && pattern.p[pattern.n - 1] == '*')
        return lt_span_starts(text, lt_span(pattern.p, pattern.n - 1));
    if (pattern.n && pattern.p[0] == '*')
        return text.n >= pattern.n - 1 && memcmp(text.p + text.n - (pattern.n - 1), pattern.p + 1, pattern.n - 1) == 0;
    return lt_span_eq(text, pattern);
}

bool pattern_list_matches(const struct lt_option_list *patterns, struct lt_span text) {
    for (unsigned i = 0; i < patterns->n; i++)
        if (pattern_matches(patterns->v[i], text))
            return true;
    return false;
}

static bool is_one_of(struct lt_span name, const char *const *names) {
    for (; *names; names++)
        if (lt_span_eq(name, lt_span_cstr(*names)))
            return true;
    return false;
}

// The same name for different things: which, depends on how the application keeps its sessions.
static const char *const carried[] = {"rack.session", "ci_session", "laravel_session", NULL};

enum cookie_kind cookie_kind(struct lt_span name, const struct lt_option_list *names) {
    bool by_name = false, by_star = false;
    for (unsigned i = 0; i < names->n; i++) {
        if (lt_span_eq(names->v[i], LT_S("*")))
            by_star = true;
        else
            by_name = by_name || pattern_matches(names->v[i], name);
    }
    if (!by_name && !by_star)
        return COOKIE_OTHER;
    if (!by_name)
        return COOKIE_REISSUED;
    return is_one_of(name, carried) ? COOKIE_CARRIED : COOKIE_ID;
}
