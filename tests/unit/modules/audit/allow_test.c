// SPDX-License-Identifier: Apache-2.0
#include "modules/audit/allow.h"

#include "tests/rig/leaks.h"

#include <criterion/criterion.h>

TestSuite(allow, .fini = lt_rig_leaks);

static struct lt_option_list list(const char *entry) {
    static struct lt_span v;
    v = lt_span_cstr(entry);
    return (struct lt_option_list){&v, 1};
}

#define ALLOWED(entry, path) audit_allowed(&(struct lt_option_list){list(entry).v, 1}, path)
#define BELOW(entry, dir) audit_allowed_below(&(struct lt_option_list){list(entry).v, 1}, dir)

Test(allow, directories) {
    cr_assert(ALLOWED("/tmp", "/tmp"));
    cr_assert(ALLOWED("/tmp", "/tmp/a/b"));
    cr_assert(ALLOWED("/tmp/", "/tmp/a"));
    cr_assert(ALLOWED("/", "/any/thing"));
    cr_assert_not(ALLOWED("/tmp", "/tmpx"));
    cr_assert_not(ALLOWED("/tmp/a", "/tmp"));
    cr_assert_not(ALLOWED("/tmp", "/x/tmp/a"));
}

Test(allow, patterns) {
    cr_assert(ALLOWED("*.log", "/srv/app/deep/x.log"));
    cr_assert(ALLOWED("/srv/*/cache/*", "/srv/a/b/cache/x"));
    cr_assert_not(ALLOWED("*.log", "/srv/x.logs"));
    cr_assert_not(ALLOWED("/srv/*.log", "/var/x.log"));
    cr_assert_not(ALLOWED("/srv/*/cache/*", "/srv/cache/x"));
}

// Nobody needs to look into a directory of which everything is allowed; but only then.
Test(allow, below) {
    cr_assert(BELOW("/tmp", "/tmp"));
    cr_assert(BELOW("/tmp", "/tmp/a"));
    cr_assert(BELOW("/tmp/*", "/tmp"));
    cr_assert(BELOW("/", ""));
    cr_assert_not(BELOW("/tmp", ""));
    cr_assert_not(BELOW("/tmp/a", "/tmp"));
    cr_assert_not(BELOW("*.log", "/srv/dir.log"));
    cr_assert_not(BELOW("/srv/*.log", "/srv"));
    cr_assert_not(BELOW("/srv/a*", "/srv"));
}

Test(allow, what_to_write) {
    cr_assert_null(audit_check_allow(LT_S("/tmp")));
    cr_assert_null(audit_check_allow(LT_S("*.log")));
    cr_assert_not_null(audit_check_allow(LT_S("tmp")));
    cr_assert_not_null(audit_check_allow(LT_S("")));
}
