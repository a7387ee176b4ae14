// SPDX-License-Identifier: Apache-2.0
#include "modules/files/profile.h"

#include "tests/rig/leaks.h"

#include <criterion/criterion.h>

TestSuite(php, .fini = lt_rig_leaks);

Test(php, names_files_as_php_does) {
    char out[FILES_NAME_MAX];
    cr_assert(files_profile_php.file(LT_S("ab,-Z9"), 0, out));
    cr_assert_str_eq(out, "sess_ab,-Z9");
    cr_assert(files_profile_php.file(LT_S("%2Cab%2c%2D"), 1, out));
    cr_assert_str_eq(out, ",/sess_,ab,-");
    cr_assert(files_profile_php.file(LT_S("abc"), 2, out));
    cr_assert_str_eq(out, "a/b/sess_abc");
}

Test(php, refuses_what_php_would_not_take) {
    static const char *const bad[] = {"", "../etc", "a/b", "a.b", "a b", "a%2", "a%2F", "a%00", "%2C%2e", "a\n", "ä"};
    char out[FILES_NAME_MAX], longest[258];
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        cr_assert_not(files_profile_php.file(lt_span_cstr(bad[i]), 0, out), "%s", bad[i]);
    memset(longest, 'a', sizeof longest);
    cr_assert(files_profile_php.file(lt_span(longest, 256), 16, out));
    cr_assert_not(files_profile_php.file(lt_span(longest, 257), 0, out));
    cr_assert_not(files_profile_php.file(LT_S("abc"), 4, out), "shorter than the depth");
}
