// SPDX-License-Identifier: Apache-2.0
#include "http/trace.h"

#include "tests/rig/leaks.h"

#include <criterion/criterion.h>

TestSuite(trace, .fini = lt_rig_leaks);

#define ID "4bf92f3577b34da6a3ce929d0e0e4736"
#define GOOD "00-" ID "-00f067aa0ba902b7-01"

static void expect(const char *value, const char *wanted) {
    char id[LT_TRACE_ID + 1] = "";
    size_t n = strlen(value);
    char *own = malloc(n + 1); // its own block: an overrun is seen
    memcpy(own, value, n);
    cr_assert_eq(lt_trace_id(lt_span(own, n), id), *wanted != '\0', "%s", value);
    cr_assert_str_eq(id, wanted, "%s", value);
    free(own);
}

Test(trace, valid) {
    expect(GOOD, ID);
    expect("00-" ID "-00f067aa0ba902b7-00", ID);
    expect("cc-" ID "-00f067aa0ba902b7-01", ID);
    expect("cc-" ID "-00f067aa0ba902b7-01-what-the-future-adds", ID);
}

Test(trace, invalid) {
    expect("", "");
    expect(GOOD "-", "");
    expect(GOOD "x", "");
    expect("ff-" ID "-00f067aa0ba902b7-01", "");
    expect("cc-" ID "-00f067aa0ba902b7-01.x", "");
    expect("0-" ID "-00f067aa0ba902b7-010", "");
    expect("00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01", "");
    expect("00-00000000000000000000000000000000-00f067aa0ba902b7-01", "");
    expect("00-" ID "-0000000000000000-01", "");
    expect("00-4bf92f3577b34da6a3ce929d0e0e473g-00f067aa0ba902b7-01", "");
    expect("00_" ID "-00f067aa0ba902b7-01", "");
    expect("00-" ID "_00f067aa0ba902b7-01", "");
    expect("00-" ID "-00f067aa0ba902b7_01", "");
    expect("00-" ID "-00f067aa0ba902b7-0g", "");
    expect("g0-" ID "-00f067aa0ba902b7-01", "");
}

Test(trace, every_beginning_is_too_short) {
    char value[] = GOOD;
    for (size_t n = 0; n < sizeof value - 1; n++) {
        char kept = value[n];
        value[n] = '\0';
        expect(value, "");
        value[n] = kept;
    }
}
