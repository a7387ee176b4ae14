// SPDX-License-Identifier: Apache-2.0
#include "base/buf.h"

#include "tests/rig/leaks.h"

#include <criterion/criterion.h>
#include <stdint.h>

TestSuite(buf, .fini = lt_rig_leaks);

Test(buf, appends_and_consumes) {
    struct lt_buf b;
    lt_buf_init(&b, 100);
    cr_assert_eq(lt_buf_span(&b).n, 0);
    cr_assert(lt_buf_append(&b, LT_S("hello ")));
    cr_assert(lt_buf_append(&b, LT_S("world")));
    lt_buf_consume(&b, 6);
    cr_assert(lt_span_eq(lt_buf_span(&b), LT_S("world")));
    lt_buf_consume(&b, 5);
    cr_assert_eq(b.off, 0, "an empty buffer begins at its start again");
    lt_buf_fini(&b);
    cr_assert_eq(b.max, 100);
    cr_assert(lt_buf_append(&b, LT_S("again")), "it can be used again");
    lt_buf_fini(&b);
}

Test(buf, the_maximum_holds_to_the_byte) {
    struct lt_buf b;
    lt_buf_init(&b, 5);
    cr_assert_not(lt_buf_append(&b, LT_S("sixsix")));
    cr_assert_eq(b.len, 0, "nothing was appended");
    cr_assert(lt_buf_append(&b, LT_S("five5")));
    cr_assert_not(lt_buf_append(&b, LT_S("x")));
    cr_assert(lt_buf_append(&b, LT_S("")), "nothing always fits");
    cr_assert_null(lt_buf_reserve(&b, SIZE_MAX), "no wrap-around");
    lt_buf_consume(&b, 2);
    cr_assert(lt_buf_append(&b, LT_S("ab")), "what was consumed is room again");
    cr_assert(lt_span_eq(lt_buf_span(&b), LT_S("ve5ab")));
    lt_buf_fini(&b);
}

// A queue that is always read and written a bit: the content stays right and the memory small.
Test(buf, slides_without_growing) {
    struct lt_buf b;
    unsigned char in = 0, out = 0;
    lt_buf_init(&b, 1000);
    for (unsigned round = 0; round < 2000; round++) {
        char piece[7];
        for (unsigned i = 0; i < sizeof piece; i++)
            piece[i] = (char)in++;
        cr_assert(lt_buf_append(&b, lt_span(piece, sizeof piece)));
        struct lt_span s = lt_buf_span(&b);
        size_t n = round < 10 ? s.n / 2 : 7;
        for (size_t i = 0; i < n; i++)
            cr_assert_eq((unsigned char)s.p[i], out++, "round %u", round);
        lt_buf_consume(&b, n);
    }
    cr_assert_leq(b.cap, 256);
    lt_buf_fini(&b);
}

Test(buf, reserve_then_grew) {
    struct lt_buf b;
    lt_buf_init(&b, 4096);
    cr_assert(lt_buf_append(&b, LT_S("ab")));
    char *at = lt_buf_reserve(&b, 1000);
    cr_assert_not_null(at);
    cr_assert_eq(b.len, 2, "reserved is not content");
    memset(at, 'x', 1000);
    lt_buf_grew(&b, 3);
    cr_assert(lt_span_eq(lt_buf_span(&b), LT_S("abxxx")));
    lt_buf_fini(&b);
}

Test(buf, prints) {
    struct lt_buf b;
    lt_buf_init(&b, 10);
    cr_assert(lt_buf_printf(&b, "%s %d", "n", 42));
    cr_assert(lt_span_eq(lt_buf_span(&b), LT_S("n 42")));
    cr_assert_not(lt_buf_printf(&b, "%s", "much too long"));
    cr_assert(lt_span_eq(lt_buf_span(&b), LT_S("n 42")), "nothing was appended");
    lt_buf_fini(&b);
}
