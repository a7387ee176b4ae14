// SPDX-License-Identifier: Apache-2.0
#include "modules/session/names.h"

#include "config/pattern.h"

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
    if (!lt_pattern_list_may_match(names, name))
        return COOKIE_OTHER;
    for (unsigned i = 0; i < names->n; i++) {
        if (lt_span_eq(names->v[i], LT_S("*")))
            by_star = true;
        else
            by_name = by_name || lt_pattern_matches(names->v[i], name);
    }
    if (!by_name && !by_star)
        return COOKIE_OTHER;
    if (!by_name)
        return COOKIE_REISSUED;
    return is_one_of(name, carried) ? COOKIE_CARRIED : COOKIE_ID;
}
