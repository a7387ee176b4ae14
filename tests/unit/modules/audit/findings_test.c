// SPDX-License-Identifier: Apache-2.0
#include "modules/audit/findings.h"

#include "base/log.h"
#include "tests/rig/leaks.h"

#include <criterion/criterion.h>
#include <stdio.h>

static void quiet(void) {
    lt_log_setup(LT_LOG_ERROR, LT_LOG_TEXT);
}

TestSuite(findings, .init = quiet, .fini = lt_rig_leaks);

Test(findings, rows_count_and_keep_the_latest) {
    struct audit_row rows[4];
    audit_found(AUDIT_DISK, "/a", "/data", "/data/one", 1);
    audit_found(AUDIT_DISK, "/a", "/data", "/data/two", 2);
    audit_found(AUDIT_DISK, "/b", "/data", "/data/three", 1);
    audit_found(AUDIT_STICKY, "/a", "/data", "x", 1);
    cr_assert_eq(audit_look(rows, 4), 3);
    cr_assert_eq(rows[0].count, 3);
    cr_assert_str_eq(rows[0].example, "/data/two");
    cr_assert_str_eq(rows[1].route, "/b");
    cr_assert_eq(audit_count(AUDIT_DISK), 4);
    cr_assert_eq(audit_seen(), 1u << AUDIT_DISK | 1u << AUDIT_STICKY);
}

Test(findings, a_full_table_counts_all_the_same) {
    struct audit_row rows[AUDIT_ROWS];
    char where[32];
    audit_limit(10);
    for (int i = 0; i < 1000; i++) {
        snprintf(where, sizeof where, "/data/%d", i);
        audit_found(AUDIT_DISK, "/a", where, where, 1);
    }
    audit_found(AUDIT_STICKY, "/a", "C", "C", 1); // another kind still has its place
    unsigned n = audit_look(rows, AUDIT_ROWS);
    cr_assert_eq(n, 7, "%u", n);
    cr_assert_str_eq(rows[5].where, "other");
    cr_assert_str_eq(rows[5].route, "other");
    cr_assert_eq(rows[5].count, 995);
    cr_assert_str_eq(rows[5].example, "/data/999");
    cr_assert_eq(rows[6].kind, AUDIT_STICKY);
    cr_assert_eq(audit_count(AUDIT_DISK), 1000);
}

Test(findings, texts_are_cut_and_plain) {
    struct audit_row row;
    char longest[1000];
    memset(longest, 'x', sizeof longest - 1);
    longest[sizeof longest - 1] = '\0';
    audit_found(AUDIT_DISK, "/a", longest, "\x1b[31m\n\xff", 1);
    cr_assert_eq(audit_look(&row, 1), 1);
    cr_assert_eq(strlen(row.where), AUDIT_WHERE - 1);
    cr_assert_str_eq(row.example, "?[31m??");
    audit_found(AUDIT_DISK, "/a", longest, longest, 1); // found again although it was cut
    cr_assert_eq(audit_look(&row, 1), 1);
    cr_assert_eq(row.count, 2);
}

Test(findings, clear) {
    struct audit_row row;
    audit_see_lost(3);
    cr_assert_eq(audit_count(AUDIT_LOST), 3);
    cr_assert_eq(audit_seen(), 1u << AUDIT_LOST);
    audit_found(AUDIT_GROWTH, "?", "/", "x", 1);
    audit_clear();
    cr_assert_eq(audit_seen(), 0);
    cr_assert_eq(audit_look(&row, 1), 0);
    audit_see_lost(3); // those are acknowledged
    cr_assert_eq(audit_seen(), 0);
    audit_see_lost(4);
    cr_assert_eq(audit_seen(), 1u << AUDIT_LOST);
    cr_assert_eq(audit_count(AUDIT_LOST), 1);
}

Test(findings, kinds) {
    for (unsigned k = 0; k < AUDIT_KINDS; k++)
        cr_assert_eq(audit_kind_of(lt_span_cstr(audit_kind_names[k])), k);
    cr_assert_eq(audit_kind_of(LT_S("disks")), AUDIT_KINDS);
    cr_assert_eq(audit_kind_of(LT_S("")), AUDIT_KINDS);
}
