// SPDX-License-Identifier: Apache-2.0
#include "config/pattern.h"

#include "tests/rig/leaks.h"

#include <criterion/criterion.h>

TestSuite(pattern, .fini = lt_rig_leaks);

static struct lt_option_list list_of(struct lt_span *v, const char *text) {
    struct lt_option_list list = {.v = v};
    struct lt_span rest = lt_span_cstr(text);
    while (lt_span_next(&rest, &v[list.n]))
        list.n++;
    return list;
}

static void all(const struct lt_option_list *patterns, const char *const *texts, bool match) {
    for (; *texts; texts++)
        cr_assert_eq(lt_pattern_list_matches(patterns, lt_span_cstr(*texts)), match, "%s", *texts);
}

// The look at the first character only makes it quicker.
Test(pattern, exact_prefix_and_suffix) {
    static const char *const yes[] = {"/static/", "/static/a/b", "/x/y.css", ".css", "/favicon.ico", NULL};
    static const char *const no[] = {"/static", "/css", "/x.css/", "/favicon.icon", "", "/a/favicon.ico", NULL};
    struct lt_span v[8];
    struct lt_option_list patterns = list_of(v, "/static/*, *.css, /favicon.ico");
    for (int prepared = 0; prepared < 2; prepared++, lt_pattern_list_prepare(&patterns)) {
        all(&patterns, yes, true);
        all(&patterns, no, false);
    }
}

Test(pattern, first_characters) {
    static const char *const yes[] = {"sid", "wp_", "wp_x", "\xc3\xa9", NULL};
    static const char *const no[] = {"", "s", "x", "wp", "SID", "\xc3", NULL};
    struct lt_span v[8];
    struct lt_option_list patterns = list_of(v, "sid, wp_*, \xc3\xa9");
    for (int prepared = 0; prepared < 2; prepared++, lt_pattern_list_prepare(&patterns)) {
        all(&patterns, yes, true);
        all(&patterns, no, false);
    }
    for (int c = 0; c < 256; c++) {
        char text[] = {(char)c};
        bool begins = c == 's' || c == 'w' || c == 0xc3;
        cr_assert_eq(lt_pattern_list_may_match(&patterns, lt_span(text, 1)), begins, "%d", c);
    }
    struct lt_option_list none = {.v = v};
    lt_pattern_list_prepare(&none);
    cr_assert_not(lt_pattern_list_matches(&none, LT_S("sid")));
    struct lt_option_list every = list_of(v, "*");
    lt_pattern_list_prepare(&every);
    cr_assert(lt_pattern_list_matches(&every, LT_S("sid")) && lt_pattern_list_matches(&every, LT_S("")));
}
