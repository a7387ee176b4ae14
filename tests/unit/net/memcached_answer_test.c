// SPDX-License-Identifier: Apache-2.0
#include "net/memcached.h"

#include "tests/rig/leaks.h"

#include <criterion/criterion.h>

TestSuite(memcached_answer, .fini = lt_rig_leaks);

#define TEXT(literal) lt_span_cstr(literal)

static const struct row {
    const char *text;
    enum lt_memcached_word word;
    uint64_t cas;
    int64_t left;
    const char *data;
} rows[] = {
    {"VA 3 c17 t300\r\nabc\r\n", LT_MEMCACHED_VA, 17, 300, "abc"},
    {"VA 0 c1 t-1\r\n\r\n", LT_MEMCACHED_VA, 1, -1, ""},
    {"VA 4\r\n\r\nEN\r\n", LT_MEMCACHED_VA, 0, -1, "\r\nEN"},
    {"VA 2 f30 c18446744073709551615\r\n\n\n\r\n", LT_MEMCACHED_VA, UINT64_MAX, -1, "\n\n"},
    {"HD\r\n", LT_MEMCACHED_HD, 0, -1, ""},
    {"HD t20\r\n", LT_MEMCACHED_HD, 0, 20, ""},
    {"EN\r\n", LT_MEMCACHED_EN, 0, -1, ""},
    {"NF\r\n", LT_MEMCACHED_NF, 0, -1, ""},
    {"NS\r\n", LT_MEMCACHED_NS, 0, -1, ""},
    {"EX\r\n", LT_MEMCACHED_EX, 0, -1, ""},
    {"MN\r\n", LT_MEMCACHED_MN, 0, -1, ""},
    {"STAT item_size_max 1048576\r\n", LT_MEMCACHED_STAT, 0, -1, ""},
    {"END\r\n", LT_MEMCACHED_END, 0, -1, ""},
    {"ERROR\r\n", LT_MEMCACHED_ERROR, 0, -1, ""},
    {"CLIENT_ERROR bad command line format\r\n", LT_MEMCACHED_ERROR, 0, -1, ""},
    {"SERVER_ERROR object too large for cache\r\n", LT_MEMCACHED_ERROR, 0, -1, ""},
};

Test(memcached_answer, whole_and_byte_by_byte) {
    struct lt_memcached_answer a;
    size_t used;
    for (unsigned i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct lt_span text = TEXT(rows[i].text);
        for (size_t n = 0; n < text.n; n++) {
            cr_assert_eq(lt_memcached_parse(lt_span(text.p, n), 100, &a, &used), LT_OK, "%s", text.p);
            cr_assert_eq(used, 0, "%zu bytes of %s", n, text.p);
        }
        cr_assert_eq(lt_memcached_parse(text, 100, &a, &used), LT_OK);
        cr_assert_eq(used, text.n);
        cr_assert_eq(a.word, rows[i].word);
        cr_assert_eq(a.cas, rows[i].cas);
        cr_assert_eq(a.left, rows[i].left);
        cr_assert(lt_span_eq(a.data, TEXT(rows[i].data)));
    }
}

Test(memcached_answer, one_of_several) {
    struct lt_memcached_answer a;
    size_t used;
    struct lt_span text = LT_S("HD\r\nVA 1 c2\r\nx\r\n");
    cr_assert_eq(lt_memcached_parse(text, 100, &a, &used), LT_OK);
    cr_assert_eq(used, 4);
    cr_assert_eq(lt_memcached_parse(lt_span(text.p + 4, text.n - 4), 100, &a, &used), LT_OK);
    cr_assert_eq(used, text.n - 4);
}

Test(memcached_answer, not_of_the_protocol) {
    static const char *const wrong[] = {"\r\n",
                                        "\n",
                                        "HD\n",
                                        "hd\r\n",
                                        "VA\r\n",
                                        "VA x\r\n",
                                        "VA -1\r\n",
                                        "VA 1 cx\r\nx\r\n",
                                        "HD tx\r\n",
                                        "HD  c1\r\n",
                                        "STORED\r\n",
                                        " HD\r\n",
                                        "VA 1\r\nabc\r\n",
                                        "VA 99999999999999999999\r\n"};
    struct lt_memcached_answer a;
    size_t used;
    for (unsigned i = 0; i < sizeof wrong / sizeof *wrong; i++)
        cr_assert_eq(lt_memcached_parse(TEXT(wrong[i]), 100, &a, &used), LT_ERR_PROTOCOL, "%s", wrong[i]);
    char line[4096];
    memset(line, 'x', sizeof line);
    cr_assert_eq(lt_memcached_parse(lt_span(line, sizeof line), 100, &a, &used), LT_ERR_PROTOCOL);
}

Test(memcached_answer, larger_than_allowed) {
    struct lt_memcached_answer a;
    size_t used;
    cr_assert_eq(lt_memcached_parse(LT_S("VA 100 c1\r\n"), 100, &a, &used), LT_OK);
    cr_assert_eq(used, 0);
    cr_assert_eq(lt_memcached_parse(LT_S("VA 101 c1\r\n"), 100, &a, &used), LT_ERR_LIMIT);
}
