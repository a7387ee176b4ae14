// SPDX-License-Identifier: Apache-2.0
#include "http/cookie_edit.h"

#include "tests/rig/leaks.h"
#include "tests/unit/http/split.h"

TestSuite(cookie_edit, .fini = lt_rig_leaks);

static bool keep_lower_case(const struct lt_cookie *c, void *user) {
    char *asked = user;
    asked[strlen(asked)] = c->name.n ? c->name.p[0] : '-'; // the rest of it is NULs
    return c->name.n == 0 || c->name.p[0] >= 'a';
}

// Cookies with upper-case names are taken out.
Test(cookie_edit, filters) {
    static const struct {
        const char *in, *out, *asked; // out NULL: the field is dropped
    } rows[] = {
        {"", "", ""},
        {"a=1", "a=1", "a"},
        {" a=1 ;; b=2; ", " a=1 ;; b=2; ", "ab"},
        {"A=1", NULL, "A"},
        {"A=1; B=2;", NULL, "AB"},
        {"A=1; b=2", "b=2", "Ab"},
        {"a=1; B=2", "a=1", "aB"},
        {"a=1; B=2; c=3", "a=1; c=3", "aBc"},
        {"a=1;B=2;c=3", "a=1;c=3", "aBc"},
        {"A=1; b=2; C=3; d=4", "b=2; d=4", "AbCd"},
        {"A=1;\tb=2;;c=3", "b=2;;c=3", "Abc"},
        {"flag; A=1; =x", "flag; =x", "-A-"},
        {"A=\"a;b=2\"", "b=2\"", "Ab"},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct lt_arena arena;
        struct lt_headers h;
        char asked[16] = "";
        lt_arena_init(&arena, 1 << 14);
        cr_assert(lt_headers_init(&h, &arena));
        cr_assert(lt_headers_add(&h, LT_S("X-App"), LT_S("A=1")));
        cr_assert(lt_headers_add(&h, LT_S("cookie"), lt_span_cstr(rows[i].in)));
        cr_assert(lt_cookies_filter(&h, &arena, keep_lower_case, asked));
        cr_assert_eq(h.v[1].dropped, rows[i].out == NULL, "\"%s\"", rows[i].in);
        cr_assert(!rows[i].out || lt_span_eq(h.v[1].value, lt_span_cstr(rows[i].out)), "\"%s\": \"%.*s\"", rows[i].in,
                  (int)h.v[1].value.n, h.v[1].value.p);
        cr_assert_str_eq(asked, rows[i].asked, "each once, in order");
        cr_assert(lt_span_eq(h.v[0].value, LT_S("A=1")), "other fields are left alone");
        lt_arena_fini(&arena);
    }
}

Test(cookie_edit, every_cookie_field_and_no_copy_without_need) {
    struct lt_arena arena;
    struct lt_headers h;
    char asked[16] = "";
    lt_arena_init(&arena, 1 << 14);
    cr_assert(lt_headers_init(&h, &arena));
    cr_assert(lt_headers_add(&h, LT_S("Cookie"), LT_S("A=1")));
    cr_assert(lt_headers_add(&h, LT_S("Cookie"), LT_S("b=2; C=3")));
    cr_assert(lt_headers_add(&h, LT_S("Cookie"), LT_S("d=4")));
    h.v[2].raw = LT_S("Cookie: d=4\r\n");
    cr_assert(lt_cookies_filter(&h, &arena, keep_lower_case, asked));
    cr_assert_str_eq(asked, "AbCd");
    cr_assert(h.v[0].dropped && lt_span_eq(h.v[1].value, LT_S("b=2")));
    cr_assert_not_null(h.v[2].raw.p, "an untouched field keeps its raw line");
    lt_arena_fini(&arena);
}

Test(cookie_edit, no_memory_is_told) {
    struct lt_arena arena;
    struct lt_headers h;
    char asked[16] = "";
    lt_arena_init(&arena, 24 * sizeof(struct lt_header));
    cr_assert(lt_headers_init(&h, &arena));
    cr_assert(lt_headers_add(&h, LT_S("Cookie"), LT_S("a=1; B=2")));
    cr_assert_not(lt_cookies_filter(&h, &arena, keep_lower_case, asked));
    lt_arena_fini(&arena);
}
