// SPDX-License-Identifier: Apache-2.0
#include "modules/audit/under_way.h"

#include "base/clock.h"
#include "tests/rig/leaks.h"

#include <criterion/criterion.h>

static struct under_way_list one, two;

static void begin(void) {
    under_way_init(&one);
    under_way_init(&two);
}

static void end(void) {
    under_way_fini(&one);
    under_way_fini(&two);
    lt_clock_set(-1, -1);
    lt_rig_leaks();
}

TestSuite(under_way, .init = begin, .fini = end);

static const char *route(int64_t from, int64_t to) {
    static char text[LT_ROUTE];
    under_way_route(from, to, text);
    return text;
}

static void at(int64_t wall) {
    lt_clock_set(wall, wall);
}

Test(under_way, exactly_one) {
    struct under_way a;
    cr_assert_str_eq(route(0, 1000), "?");
    at(100);
    under_way_begin(&one, &a, LT_S("/a/b?c"));
    cr_assert_str_eq(route(100, 100), "/a");
    cr_assert_str_eq(route(500, 520), "/a"); // it still runs
    cr_assert_str_eq(route(80, 99), "?");    // before it began
    at(200);
    under_way_end(&one, &a);
    cr_assert_str_eq(route(200, 220), "/a"); // it is over, and the file was found later
    cr_assert_str_eq(route(150, 150), "/a");
    cr_assert_str_eq(route(201, 220), "?");
}

Test(under_way, two_workers_two_routes) {
    struct under_way a, b;
    at(100);
    under_way_begin(&one, &a, LT_S("/a"));
    at(110);
    under_way_begin(&two, &b, LT_S("/b"));
    cr_assert_str_eq(route(105, 105), "/a");
    cr_assert_str_eq(route(105, 110), "?");
    at(120);
    under_way_end(&one, &a);
    cr_assert_str_eq(route(120, 120), "?");
    cr_assert_str_eq(route(121, 121), "/b");
    under_way_end(&two, &b);
}

Test(under_way, of_the_same_route_nobody_knows_either) {
    struct under_way a, b;
    at(100);
    under_way_begin(&one, &a, LT_S("/a"));
    under_way_begin(&one, &b, LT_S("/a"));
    cr_assert_str_eq(route(100, 100), "?");
    under_way_end(&one, &a);
    under_way_end(&one, &b);
}

// What was forgotten may have run then.
Test(under_way, forgotten) {
    struct under_way u;
    for (int i = 0; i < UNDER_WAY_ENDED + 1; i++) { // the first one is overwritten
        at(1000 + 10 * i);
        under_way_begin(&one, &u, i ? LT_S("/later") : LT_S("/first"));
        at(1005 + 10 * i);
        under_way_end(&one, &u);
    }
    cr_assert_str_eq(route(1002, 1002), "?");
    cr_assert_str_eq(route(1015, 1015), "?"); // the oldest that is kept ends here
    cr_assert_str_eq(route(1021, 1021), "/later");
}
