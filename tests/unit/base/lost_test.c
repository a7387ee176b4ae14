// SPDX-License-Identifier: Apache-2.0
#include "base/lost.h"

#include "tests/rig/leaks.h"

#include <criterion/criterion.h>
#include <stdio.h>

TestSuite(lost, .init = lt_lost_reset, .fini = lt_rig_leaks);

static const char *only_route(const char *path) {
    static struct lt_lost row;
    lt_lost_reset();
    lt_lost_add("x", lt_span_cstr(path));
    cr_assert_eq(lt_lost_look(&row, 1), 1);
    return row.route;
}

Test(lost, routes) {
    cr_assert_str_eq(only_route("/cart/add?x=1"), "/cart");
    cr_assert_str_eq(only_route("/index.php?page=2"), "/index.php");
    cr_assert_str_eq(only_route("/"), "/");
    cr_assert_str_eq(only_route("/a;b"), "/a");
    cr_assert_str_eq(only_route(""), "other");
    cr_assert_str_eq(only_route("*"), "other");
    cr_assert_str_eq(only_route("/a\"b"), "other");
    cr_assert_str_eq(only_route("/%2e"), "other");
    cr_assert_str_eq(only_route("/aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"), "other");
}

Test(lost, counts_and_prints) {
    struct lt_buf out;
    lt_buf_init(&out, 4096);
    for (int i = 0; i < 3; i++)
        lt_lost_add("missing_file", LT_S("/cart"));
    lt_lost_add("late_write", LT_S("/cart"));
    cr_assert(lt_lost_print(&out));
    static const char first[] = "lethe_sessions_lost_total{reason=\"missing_file\",route=\"/cart\"} 3\n";
    static const char second[] = "lethe_sessions_lost_total{reason=\"late_write\",route=\"/cart\"} 1\n";
    cr_assert(memmem(out.p, out.len, first, sizeof first - 1));
    cr_assert(memmem(out.p, out.len, second, sizeof second - 1));
    lt_buf_fini(&out);
}

Test(lost, the_table_has_an_end) {
    struct lt_lost rows[LT_LOST_ROWS];
    char path[32];
    for (int i = 0; i < 1000; i++) {
        snprintf(path, sizeof path, "/r%d", i);
        lt_lost_add("missing_file", lt_span_cstr(path));
    }
    unsigned n = lt_lost_look(rows, LT_LOST_ROWS);
    uint64_t sum = 0;
    for (unsigned i = 0; i < n; i++)
        sum += rows[i].count;
    cr_assert_leq(n, LT_LOST_ROWS / 2 + 1);
    cr_assert_eq(sum, 1000, "none is forgotten");
}
