// SPDX-License-Identifier: Apache-2.0
#include "crypto/key_ring.h"

#include "tests/rig/leaks.h"

#include <criterion/criterion.h>
#include <stdio.h>

TestSuite(key_ring, .fini = lt_rig_leaks);

#define SECRET "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
#define OTHER "AQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"

Test(key_ring, reads_lists_and_files) {
    static const char *const texts[] = {"a:" SECRET ",b:" OTHER, "a:" SECRET " b:" OTHER "\n",
                                        "# the new one\na:" SECRET " # made today\r\n\n b:" OTHER "#old",
                                        ",,a:" SECRET ",,b:" OTHER ","};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        struct lt_key_ring ring;
        char error[200] = "";
        cr_assert(lt_key_ring_parse(&ring, lt_span_cstr(texts[i]), error, sizeof error), "%zu: %s", i, error);
        cr_assert_eq(ring.n, 2);
        cr_assert_str_eq(ring.keys[0].id, "a");
        cr_assert_str_eq(ring.keys[1].id, "b");
        cr_assert_eq(ring.keys[1].secret[0], 1);
    }
}

Test(key_ring, says_what_is_wrong_without_showing_a_key) {
    static const struct {
        const char *text, *wanted;
    } rows[] = {
        {"", "there is no key"},
        {"# only a comment", "there is no key"},
        {SECRET, "key 1 has no \":\""},
        {"a:" SECRET ",b", "key 2 has no \":\""},
        {":" SECRET, "key 1 has a bad id"},
        {"a b:" SECRET, "key 1 has no"},
        {"a/b:" SECRET, "key 1 has a bad id"},
        {"seventeenletters1:" SECRET, "key 1 has a bad id"},
        {"a:" SECRET ",a:" OTHER, "key 2 has the id of an earlier one"},
        {"a:short", "key 1 has no secret of 43"},
        {"a:" SECRET "A", "key 1 has no secret of 43"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct lt_key_ring ring;
        char error[200] = "";
        cr_assert_not(lt_key_ring_parse(&ring, lt_span_cstr(rows[i].text), error, sizeof error), "%s", rows[i].text);
        cr_assert(strstr(error, rows[i].wanted), "%s: %s", rows[i].text, error);
        cr_assert_not(strstr(error, "AAAA"), "%s", error);
        cr_assert_eq(ring.n, 0);
    }
}

Test(key_ring, takes_sixteen_keys) {
    char text[LT_KEYS_MAX * 64 + 64] = "", error[200];
    struct lt_key_ring ring;
    for (int i = 0; i < LT_KEYS_MAX; i++)
        sprintf(text + strlen(text), "k%d:" SECRET "\n", i);
    cr_assert(lt_key_ring_parse(&ring, lt_span_cstr(text), error, sizeof error), "%s", error);
    strcat(text, "more:" SECRET);
    cr_assert_not(lt_key_ring_parse(&ring, lt_span_cstr(text), error, sizeof error));
    cr_assert(strstr(error, "one too many"), "%s", error);
}

Test(key_ring, a_new_key_is_read_back) {
    struct lt_key key, other;
    struct lt_key_ring ring;
    char text[64], error[200];
    cr_assert(lt_key_new(&key, 1763942400000) && lt_key_new(&other, 1763942400000));
    cr_assert_neq(memcmp(key.secret, other.secret, LT_KEY_BYTES), 0);
    cr_assert_eq(strncmp(key.id, "k20251124", 9), 0, "%s", key.id);
    cr_assert_eq(strspn(key.id + 9, "0123456789abcdef"), 6, "one in 16 million of the same day is the same: %s", key.id);
    cr_assert_lt(lt_key_format(&key, text, sizeof text), sizeof text);
    cr_assert(lt_key_ring_parse(&ring, lt_span_cstr(text), error, sizeof error), "%s", error);
    cr_assert_arr_eq(ring.keys[0].secret, key.secret, LT_KEY_BYTES);
    lt_key_ring_wipe(&ring);
    cr_assert_eq(ring.keys[0].secret[0] | ring.keys[0].secret[31], 0);
}
