// SPDX-License-Identifier: Apache-2.0
#include "crypto/token.h"

#include "tests/rig/leaks.h"

#include <criterion/criterion.h>
#include <stdlib.h>

TestSuite(token, .fini = lt_rig_leaks);

// RFC 4648 section 10, without padding, and the two characters of section 5.
Test(token, base64url_vectors) {
    static const struct {
        const char *plain, *text;
        size_t n;
    } rows[] = {{"", "", 0},           {"f", "Zg", 1},        {"fo", "Zm8", 2},
                {"foo", "Zm9v", 3},    {"foob", "Zm9vYg", 4}, {"foobar", "Zm9vYmFy", 6},
                {"\xfb\xff", "-_8", 2}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char text[16], plain[16];
        size_t n;
        cr_assert_eq(lt_base64url_encode(rows[i].plain, rows[i].n, text), strlen(rows[i].text));
        cr_assert_str_eq(text, rows[i].text);
        cr_assert(lt_base64url_decode(lt_span_cstr(text), plain, sizeof plain, &n));
        cr_assert(lt_span_eq(lt_span(plain, n), lt_span(rows[i].plain, rows[i].n)));
    }
}

Test(token, base64url_refuses_every_other_spelling) {
    static const char *const bad[] = {"Z", "Zg==", "Zh", "Zm9", "Zm9v\n", " Zm9v", "Zm+v", "Zm/v", "Zm9vY"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        char out[16];
        size_t n;
        cr_assert_not(lt_base64url_decode(lt_span_cstr(bad[i]), out, sizeof out, &n), "%s", bad[i]);
    }
    char small[2];
    size_t n;
    cr_assert_not(lt_base64url_decode(LT_S("Zm9v"), small, sizeof small, &n), "more than fits");
}

Test(token, round_trip_and_one_spelling) {
    struct lt_token t, back;
    char text[LT_TOKEN_TEXT + 1];
    for (int i = 0; i < 200; i++) {
        cr_assert(lt_token_new(&t));
        lt_token_format(&t, text);
        cr_assert_eq(strlen(text), LT_TOKEN_TEXT);
        cr_assert(lt_token_parse(lt_span_cstr(text), &back));
        cr_assert_arr_eq(t.bytes, back.bytes, LT_TOKEN_BYTES);
    }
    // The last character holds four bits: of the four spellings that a lenient decoder takes, three are refused.
    unsigned taken = 0;
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    for (const char *d = digits; *d; d++) {
        text[LT_TOKEN_TEXT - 1] = *d;
        taken += lt_token_parse(lt_span_cstr(text), &back);
    }
    cr_assert_eq(taken, 16);
    cr_assert_not(lt_token_parse(lt_span(text, LT_TOKEN_TEXT - 1), &back));
}

Test(token, hash_depends_on_token_and_scope_only) {
    struct lt_token a = {{1}}, b = {{2}};
    char one[LT_TOKEN_HASH_TEXT + 1], two[LT_TOKEN_HASH_TEXT + 1];
    lt_token_hash(&a, LT_S("lethe"), one);
    lt_token_hash(&a, LT_S("lethe"), two);
    cr_assert_str_eq(one, two);
    lt_token_hash(&b, LT_S("lethe"), two);
    cr_assert_str_neq(one, two);
    lt_token_hash(&a, LT_S("shop"), two);
    cr_assert_str_neq(one, two);
    // HMAC-SHA256("lethe store name v1/lethe", 01 00…): computed with openssl(1); records in Redis depend on it.
    cr_assert_str_eq(one, "GgZVdHTDPIhufx5PlqzqHs3YvOjxFqdUtzR3YfWtffQ");
}

// More than the kernel promises to give without being interrupted (256 bytes): every block is filled, and not twice with the same.
Test(token, random_fills_all_of_it) {
    enum { BLOCK = 16, BLOCKS = 256 };
    static unsigned char bytes[BLOCKS][BLOCK];
    cr_assert(lt_random(bytes, sizeof bytes));
    for (unsigned i = 0; i < BLOCKS; i++)
        for (unsigned j = 0; j < i; j++)
            cr_assert(memcmp(bytes[i], bytes[j], BLOCK) != 0, "%u %u", i, j);
    cr_assert(lt_random(bytes, 0));
}
