// SPDX-License-Identifier: Apache-2.0
#include "modules/files/profile.h"

#include "tests/rig/leaks.h"

#include <criterion/criterion.h>

TestSuite(profile, .fini = lt_rig_leaks);

static const char *id(enum files_id kind, struct lt_span value) {
    static char text[FILES_ID_MAX + 1];
    size_t n;
    if (!files_id(kind, value, text, &n))
        return NULL;
    text[n] = '\0';
    return text;
}

Test(profile, ids) {
    cr_assert_str_eq(id(ID_PLAIN, LT_S("ab,-Z9")), "ab,-Z9");
    cr_assert_str_eq(id(ID_PLAIN, LT_S("%2Cab%2c%2D")), ",ab,-");
    cr_assert_str_eq(id(ID_PLAIN, LT_S("0123ABC.node1")), "0123ABC.node1");
    cr_assert_str_eq(id(ID_SIGNED, LT_S("s%3Aabc-_d.c2ln")), "abc-_d");
    cr_assert_str_eq(id(ID_SIGNED, LT_S("s:a.b.c2ln")), "a.b");
}

Test(profile, no_id_leaves_the_directory) {
    static const char *const bad[] = {"",     "../etc", "a/b",  "..",     ".a",  "a b",     "a%2",
                                      "a%2F", "a%00",   "%2e.", "%2e%2e", "a\n", "\xc3\xa4"};
    char longest[300];
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        cr_assert_null(id(ID_PLAIN, lt_span_cstr(bad[i])), "%s", bad[i]);
    static const char *const bad_signed[] = {"s:", "s:.x", "abc", "abc.sig", "s:abc", "s:../a.sig", "x:a.b"};
    for (size_t i = 0; i < sizeof bad_signed / sizeof *bad_signed; i++)
        cr_assert_null(id(ID_SIGNED, lt_span_cstr(bad_signed[i])), "%s", bad_signed[i]);
    memset(longest, 'a', sizeof longest);
    cr_assert_null(id(ID_PLAIN, lt_span(longest, FILES_ID_MAX + 1)));
}

static const char *name(const char *pattern, const char *of, unsigned depth) {
    static char out[FILES_NAME_MAX];
    return files_name(pattern, lt_span_cstr(of), depth, out) ? out : NULL;
}

Test(profile, names) {
    cr_assert_str_eq(name("sess_{id}", "abc", 0), "sess_abc");
    cr_assert_str_eq(name("sess_{id}", "abc", 2), "a/b/sess_abc");
    cr_assert_str_eq(name("{1}/{2}/{id}.cache", "abc", 0), "a/ab/abc.cache");
    cr_assert_null(name("sess_{id}", "abc", 4), "shorter than the depth");
    cr_assert_null(name("{9}/{id}", "abc", 0));
    for (int i = 1; files_profile_names[i]; i++) {
        const struct files_profile *p = files_profile_of(i);
        cr_assert_str_eq(p->name, files_profile_names[i]);
        for (unsigned k = 0; k < FILES_PATTERNS && p->patterns[k]; k++)
            cr_assert_null(files_pattern_check(lt_span_cstr(p->patterns[k])), "%s", p->name);
    }
    cr_assert_null(files_profile_of(0));
}

Test(profile, patterns) {
    static const char *const good[] = {"{id}", "sess_{id}", "{1}/{2}/{id}.cache", "a{id}b{id}"};
    static const char *const bad[] = {"",    "sess_",   "/{id}",    "../{id}", "a/../{id}",
                                      "{id", "{x}{id}", "{10}{id}", "{}{id}",  "{0}{id}"};
    for (size_t i = 0; i < sizeof good / sizeof *good; i++)
        cr_assert_null(files_pattern_check(lt_span_cstr(good[i])), "%s", good[i]);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        cr_assert_not_null(files_pattern_check(lt_span_cstr(bad[i])), "%s", bad[i]);
}
