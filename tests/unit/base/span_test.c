// SPDX-License-Identifier: Apache-2.0
#include "base/span.h"

#include "tests/rig/leaks.h"

#include <criterion/criterion.h>
#include <limits.h>
#include <stdint.h>

TestSuite(span, .fini = lt_rig_leaks);

#define COUNT(a) (sizeof(a) / sizeof *(a))

Test(span, compares) {
    const struct lt_span null = {NULL, 0};
    cr_assert(lt_span_eq(LT_S("abc"), LT_S("abc")));
    cr_assert_not(lt_span_eq(LT_S("abc"), LT_S("abd")));
    cr_assert_not(lt_span_eq(LT_S("abc"), LT_S("ab")));
    cr_assert(lt_span_eq(null, LT_S("")), "empty is empty, with or without an address");
    cr_assert(lt_span_eq(LT_S("a\0b"), LT_S("a\0b")), "NUL is a byte like others");
    cr_assert_not(lt_span_eq(LT_S("a\0b"), LT_S("a\0c")));
    cr_assert(lt_span_starts(LT_S("/path"), LT_S("/")));
    cr_assert(lt_span_starts(LT_S("/path"), null));
    cr_assert_not(lt_span_starts(LT_S("/"), LT_S("/path")));
    cr_assert_eq(lt_span_cstr(NULL).n, 0);
    cr_assert_eq(lt_span_cstr("four").n, 4);
}

// Every pair of bytes: equal when they are the same or the two cases of one ASCII letter, and never else.
Test(span, eq_nocase_knows_ascii_only) {
    for (int a = 0; a < 256; a++)
        for (int b = 0; b < 256; b++) {
            char x = (char)a, y = (char)b;
            bool letter = (a >= 'A' && a <= 'Z' && b == a + 32) || (b >= 'A' && b <= 'Z' && a == b + 32);
            cr_assert_eq(lt_span_eq_nocase(lt_span(&x, 1), lt_span(&y, 1)), a == b || letter, "bytes %d and %d", a, b);
        }
    cr_assert(lt_span_eq_nocase(LT_S("Content-Length"), LT_S("cONTENT-lENGTH")));
    cr_assert_not(lt_span_eq_nocase(LT_S("Host"), LT_S("Hos")));
}

Test(span, trims_spaces_and_tabs_only) {
    static const struct {
        struct lt_span in, out;
    } rows[] = {
        {{"", 0}, {"", 0}},           {{" \t ", 3}, {"", 0}},   {{"a", 1}, {"a", 1}}, {{"\t a b \t", 7}, {"a b", 3}},
        {{"\na\r", 3}, {"\na\r", 3}}, {{" \0 ", 3}, {"\0", 1}},
    };
    for (size_t i = 0; i < COUNT(rows); i++)
        cr_assert(lt_span_eq(lt_span_trim(rows[i].in), rows[i].out), "row %zu", i);
}

Test(span, lists) {
    static const struct {
        const char *list, *joined;
    } rows[] = {
        {"", ""}, {",", ""}, {" , ,\t,", ""}, {"a", "a|"}, {"a,b", "a|b|"}, {" a ,, b c\t,", "a|b c|"},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        char joined[32] = "";
        struct lt_span rest = lt_span_cstr(rows[i].list), one;
        while (lt_span_next(&rest, &one)) {
            strncat(joined, one.p, one.n);
            strcat(joined, "|");
        }
        cr_assert_str_eq(joined, rows[i].joined, "row %zu", i);
    }
    cr_assert(lt_span_has_token(LT_S("keep-alive, Upgrade"), LT_S("upgrade")));
    cr_assert_not(lt_span_has_token(LT_S("keep-alive, Upgrade-x"), LT_S("upgrade")));
    cr_assert_not(lt_span_has_token(LT_S(""), LT_S("close")));
}

Test(span, numbers) {
    static const struct {
        const char *text;
        unsigned long long max;
        bool ok;
        unsigned long long value;
    } rows[] = {
        {"0", 10, true, 0},
        {"10", 10, true, 10},
        {"11", 10, false, 0},
        {"007", 7, true, 7},
        {"", 10, false, 0},
        {"+1", 10, false, 0},
        {"-1", 10, false, 0},
        {" 1", 10, false, 0},
        {"1 ", 10, false, 0},
        {"0x1", 10, false, 0},
        {"1.0", 10, false, 0},
        {"18446744073709551615", ULLONG_MAX, true, ULLONG_MAX},
        {"18446744073709551616", ULLONG_MAX, false, 0},
        {"9223372036854775807", INT64_MAX, true, INT64_MAX},
        {"9223372036854775808", INT64_MAX, false, 0},
        {"99999999999999999999999999", ULLONG_MAX, false, 0},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        unsigned long long value = 0;
        bool ok = lt_span_to_u64(lt_span_cstr(rows[i].text), rows[i].max, &value);
        cr_assert_eq(ok, rows[i].ok, "\"%s\"", rows[i].text);
        cr_assert(!ok || value == rows[i].value, "\"%s\": %llu", rows[i].text, value);
    }
}

Test(span, finds) {
    cr_assert_eq(lt_span_find(LT_S("abc"), 'c'), 2);
    cr_assert_eq(lt_span_find(LT_S("abc"), 'd'), 3, "absent: the length");
    cr_assert_eq(lt_span_find(lt_span(NULL, 0), 'a'), 0);
}

Test(span, numbers_as_text) {
    static const struct {
        uint64_t value;
        const char *text;
    } rows[] = {{0, "0"}, {9, "9"}, {10, "10"}, {1234567890, "1234567890"}, {UINT64_MAX, "18446744073709551615"}};
    char out[LT_NUMBER_TEXT];
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        cr_assert(lt_span_eq(lt_span_number(out, rows[i].value), lt_span_cstr(rows[i].text)), "%s", rows[i].text);
}
