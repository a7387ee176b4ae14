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

// The session, or its id encrypted anew, travels in the value itself: each answer has another one.
static bool is_reissued(struct lt_span name) {
    static const char *const names[] = {"rack.session", "laravel_session", "ci_session"};
    for (unsigned i = 0; i < sizeof names / sizeof *names; i++)
        if (lt_span_eq(name, lt_span_cstr(names[i])))
            return true;
    return false;
}

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
    return is_reissued(name) || !by_name ? COOKIE_REISSUED : COOKIE_ID;
}
