// SPDX-License-Identifier: Apache-2.0
#include "modules/session/unnamed.h"

#include "tests/rig/leaks.h"

#include <criterion/criterion.h>
#include <stdio.h>

TestSuite(unnamed, .init = unnamed_reset, .fini = lt_rig_leaks);

#define HEX "9f86d081884c7d659a2feaa0c55ad015"

Test(unnamed, what_looks_like_a_session) {
    static const struct {
        const char *cookie;
        bool looks;
    } rows[] = {
        {"SHOPSESS=" HEX, true},
        {"mySessionId=" HEX "; Path=/; Max-Age=3600", true},
        {"shop.sid=s%3A" HEX ".c2lnbmF0dXJlb2ZpdGlzdGhpcw; HttpOnly", true},
        {"SID=" HEX, true},
        {"ticket=" HEX "; HttpOnly", true},
        {"ticket=550e8400-e29b-41d4-a716-446655440000; Path=/; HttpOnly; SameSite=Lax", true},
        {"MYSHOP=7jq0v3kq2m1c0e9u6e4c8s5n2a; path=/", true},    // PHP lets scripts read it
        {"ticket=550e8400-e29b-41d4-a716-446655440000", false}, // a script may read it, and it is written for that
        {"ticket=" HEX "; HttpOnly; Max-Age=3600", false},      // it outlives the browser: "remember me", a device
        {"ticket=" HEX "; HttpOnly; Expires=Wed, 01 Jan 2098 00:00:00 GMT", false},
        {"session=eyJ1c2VyIjoxfQ.Zm9vYmFyMTIzNDU2Nzg5.abc; HttpOnly", false}, // the content itself
        {"session=.eJwNxDEOgCAMBdC7_Nmh7cTuWUzRQkgAE1pi; HttpOnly", false},
        {"app_session=" HEX HEX HEX HEX "; HttpOnly", false}, // longer than an id: encrypted content
        {"session.sig=Zm9vYmFyMTIzNDU2Nzg5YWJjZGVm; HttpOnly", false},
        {"csrf_session=" HEX "; HttpOnly", false},
        {"XSRF-TOKEN=" HEX "; HttpOnly", false},
        {"__RequestVerificationToken=" HEX "; HttpOnly", false},
        {"session=dark", false},
        {"session=a-word-and-another-one", false}, // no digit
        {"session=\"two words 1234567890\"", false},
        {"session=", false},
        {"theme=dark; HttpOnly", false},
        {"visits=12345678901234567890", false},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct lt_set_cookie c;
        cr_assert(lt_set_cookie_parse(lt_span_cstr(rows[i].cookie), &c), "%s", rows[i].cookie);
        cr_expect_eq(unnamed_looks_like_session(&c), rows[i].looks, "%s", rows[i].cookie);
    }
}

Test(unnamed, counts_by_name) {
    struct unnamed rows[UNNAMED_ROWS];
    char name[16];
    unnamed_note(LT_S("a"), LT_S("/login?secret"));
    unnamed_note(LT_S("a"), LT_S("/cart/1"));
    unnamed_note(LT_S("b"), LT_S("/"));
    cr_assert_eq(unnamed_look(rows, UNNAMED_ROWS), 2);
    cr_expect_str_eq(rows[0].name, "a");
    cr_expect_str_eq(rows[0].route, "/cart");
    cr_expect_eq(rows[0].count, 2);
    cr_expect_str_eq(rows[1].name, "b");
    for (int i = 0; i < 2 * UNNAMED_ROWS; i++) {
        snprintf(name, sizeof name, "n%d", i);
        unnamed_note(lt_span_cstr(name), LT_S("/"));
    }
    unnamed_note(LT_S("a"), LT_S("/"));
    cr_assert_eq(unnamed_look(rows, UNNAMED_ROWS), UNNAMED_ROWS);
    cr_expect_eq(rows[0].count, 3);
}
