// SPDX-License-Identifier: Apache-2.0
#include "crypto/hmac.h"

#include "tests/rig/leaks.h"

#include <criterion/criterion.h>
#include <stdio.h>

TestSuite(hmac, .fini = lt_rig_leaks);

static struct lt_span unhex(const char *text, char *out) {
    size_t n = strlen(text) / 2;
    for (size_t i = 0; i < n; i++) {
        unsigned byte;
        cr_assert_eq(sscanf(text + 2 * i, "%2x", &byte), 1);
        out[i] = (char)byte;
    }
    return lt_span(out, n);
}

static void is(const uint8_t *got, const char *hex) {
    char want[64];
    struct lt_span w = unhex(hex, want);
    cr_assert_eq(memcmp(got, w.p, w.n), 0, "%s", hex);
}

static struct lt_span repeat(char *out, int byte, size_t n) {
    memset(out, byte, n);
    return lt_span(out, n);
}

// RFC 4231 sections 4.2 to 4.7.
Test(hmac, rfc_4231) {
    char key[160], data[64];
    uint8_t out[LT_SHA256_BYTES];
    struct lt_span text = LT_S("Hi There");
    lt_hmac(repeat(key, 0x0b, 20), &text, 1, out);
    is(out, "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7");
    text = LT_S("what do ya want for nothing?");
    lt_hmac(LT_S("Jefe"), &text, 1, out);
    is(out, "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
    lt_hmac(LT_S("Jefe"), (struct lt_span[]){LT_S("what do ya "), LT_S(""), LT_S("want for nothing?")}, 3, out);
    is(out, "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
    text = repeat(data, 0xdd, 50);
    lt_hmac(repeat(key, 0xaa, 20), &text, 1, out);
    is(out, "773ea91e36800e46854db8ebd09181a72959098b3ef8c122d9635514ced565fe");
    text = LT_S("Test Using Larger Than Block-Size Key - Hash Key First");
    lt_hmac(repeat(key, 0xaa, 131), &text, 1, out);
    is(out, "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54");
}

// RFC 5869 sections A.1 and A.3, the first 32 bytes: longer keys are not made here.
Test(hmac, rfc_5869) {
    char secret[22], salt[13], info[10];
    uint8_t out[LT_SHA256_BYTES];
    repeat(secret, 0x0b, sizeof secret);
    for (unsigned i = 0; i < sizeof salt; i++)
        salt[i] = (char)i;
    for (unsigned i = 0; i < sizeof info; i++)
        info[i] = (char)(0xf0 + i);
    lt_hkdf(lt_span(secret, sizeof secret), lt_span(salt, sizeof salt), lt_span(info, sizeof info), out);
    is(out, "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf");
    lt_hkdf(lt_span(secret, sizeof secret), lt_span(NULL, 0), lt_span(NULL, 0), out);
    is(out, "8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d");
}
