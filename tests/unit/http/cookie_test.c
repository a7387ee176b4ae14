// SPDX-License-Identifier: Apache-2.0
#include "http/cookie.h"

#include "tests/rig/leaks.h"
#include "tests/unit/http/split.h"

#include <stdlib.h>

TestSuite(cookie, .fini = lt_rig_leaks);

// In a block of its own, so that an overrun is seen.
static char *copy_of(const char *text) {
    char *copy = malloc(strlen(text) + 1);
    memcpy(copy, text, strlen(text));
    return copy;
}

Test(cookie, pieces) {
    static const struct {
        const char *in, *out; // <name|value|raw>
    } rows[] = {
        {"", ""},
        {" ; ;; \t", ""},
        {"a=b", "<a|b|a=b>"},
        {"a=b; c=d", "<a|b|a=b><c|d|c=d>"},
        {"a=b;c=d;", "<a|b|a=b><c|d|c=d>"},
        {" \ta = b \t;; c=d", "<a|b|a = b><c|d|c=d>"},
        {"a=b=c==", "<a|b=c==|a=b=c==>"},
        {"a=", "<a||a=>"},
        {"a=\"b c\"", "<a|\"b c\"|a=\"b c\">"},
        {"a=\"b;c\"", "<a|\"b|a=\"b><|c\"|c\">"}, // a quote does not protect a ";" (RFC 6265 section 5.4)
        {"flag", "<|flag|flag>"},
        {"flag; a=b", "<|flag|flag><a|b|a=b>"},
        {"=v", "<|v|=v>"},
        {"=", "<||=>"},
        {"a=1, b=2", "<a|1, b=2|a=1, b=2>"},
        {"a=\xe9; \xe9=b", "<a|\xe9|a=\xe9><\xe9|b|\xe9=b>"},
        {"a=1; a=2", "<a|1|a=1><a|2|a=2>"},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        char got[256] = "", *copy = copy_of(rows[i].in);
        struct lt_span rest = lt_span(copy, strlen(rows[i].in));
        struct lt_cookie c;
        while (lt_cookie_next(&rest, &c))
            snprintf(got + strlen(got), sizeof got - strlen(got), "<%.*s|%.*s|%.*s>", (int)c.name.n, c.name.p,
                     (int)c.value.n, c.value.p, (int)c.raw.n, c.raw.p);
        cr_assert_str_eq(got, rows[i].out, "\"%s\": %s", rows[i].in, got);
        free(copy);
    }
}

#define S(text)                                                                                                        \
    { text, sizeof(text) - 1 }

Test(cookie, set_cookie) {
    static const struct {
        const char *in;
        struct lt_set_cookie out;
    } rows[] = {
        {"a=b", {.name = S("a"), .value = S("b")}},
        {" a = b ", {.name = S("a"), .value = S("b")}},
        {"a=", {.name = S("a")}},
        {"a=b=c", {.name = S("a"), .value = S("b=c")}},
        {"a=\"b\"", {.name = S("a"), .value = S("\"b\"")}},
        {"a=b; Path=/x; Domain=.Example.com; Secure; HttpOnly; SameSite=Lax",
         {.name = S("a"),
          .value = S("b"),
          .path = S("/x"),
          .domain = S("Example.com"),
          .secure = true,
          .http_only = true,
          .same_site = LT_SAME_SITE_LAX}},
        {"a=b;PATH=/x;secure;HTTPONLY;samesite=STRICT",
         {.name = S("a"), .value = S("b"), .path = S("/x"), .secure = true, .http_only = true, .same_site = LT_SAME_SITE_STRICT}},
        {"a=b; path=x", {.name = S("a"), .value = S("b")}},
        {"a=b; path=", {.name = S("a"), .value = S("b")}},
        {"a=b; path", {.name = S("a"), .value = S("b")}},
        {"a=b; path=/x; path=/y", {.name = S("a"), .value = S("b"), .path = S("/y")}},
        {"a=b; path=/x; path=y", {.name = S("a"), .value = S("b")}},
        {"a=b; domain=a; domain=", {.name = S("a"), .value = S("b"), .domain = S("a")}},
        {"a=b; secure=no", {.name = S("a"), .value = S("b"), .secure = true}},
        {"a=b; samesite=none; samesite=x", {.name = S("a"), .value = S("b")}},
        {"a=b; Max-Age=60", {.name = S("a"), .value = S("b"), .has_max_age = true, .max_age = 60}},
        {"a=b; Max-Age=0", {.name = S("a"), .value = S("b"), .has_max_age = true}},
        {"a=b; Max-Age=-1", {.name = S("a"), .value = S("b"), .has_max_age = true, .max_age = -1}},
        {"a=b; Max-Age=1; max-age=2", {.name = S("a"), .value = S("b"), .has_max_age = true, .max_age = 2}},
        {"a=b; Max-Age=1; max-age=x", {.name = S("a"), .value = S("b"), .has_max_age = true, .max_age = 1}},
        {"a=b; Max-Age=", {.name = S("a"), .value = S("b")}},
        {"a=b; Max-Age=-", {.name = S("a"), .value = S("b")}},
        {"a=b; Max-Age=+5", {.name = S("a"), .value = S("b")}},
        {"a=b; Max-Age=5s", {.name = S("a"), .value = S("b")}},
        {"a=b; expires=Thu, 01 Jan 1970 00:00:01 GMT",
         {.name = S("a"), .value = S("b"), .has_expires = true, .expires = 1000}},
        {"a=b; expires=never", {.name = S("a"), .value = S("b")}},
        {"a=b; expires", {.name = S("a"), .value = S("b")}},
        {"a=b; expires=", {.name = S("a"), .value = S("b")}},
        {"a=b; max-age; domain; samesite", {.name = S("a"), .value = S("b")}},
        {"a=b; unknown=x; ; =; =path; path=/z", {.name = S("a"), .value = S("b"), .path = S("/z")}},
        {"path=/x; secure", {.name = S("path"), .value = S("/x"), .secure = true}},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct lt_set_cookie c;
        const struct lt_set_cookie *w = &rows[i].out;
        char *copy = copy_of(rows[i].in);
        cr_assert(lt_set_cookie_parse(lt_span(copy, strlen(rows[i].in)), &c), "%s", rows[i].in);
        cr_assert(lt_span_eq(c.name, w->name) && lt_span_eq(c.value, w->value), "%s", rows[i].in);
        cr_assert(lt_span_eq(c.path, w->path) && lt_span_eq(c.domain, w->domain), "%s", rows[i].in);
        cr_assert(c.has_max_age == w->has_max_age && c.max_age == w->max_age, "%s", rows[i].in);
        cr_assert(c.has_expires == w->has_expires && c.expires == w->expires, "%s", rows[i].in);
        cr_assert(c.secure == w->secure && c.http_only == w->http_only && c.same_site == w->same_site, "%s", rows[i].in);
        free(copy);
    }
}

Test(cookie, a_set_cookie_needs_a_name) {
    static const char *const rows[] = {"", "a", "=b", " =b", "; a=b", "a; b=c", ";"};
    struct lt_set_cookie c;
    for (size_t i = 0; i < COUNT(rows); i++)
        cr_assert_not(lt_set_cookie_parse(lt_span_cstr(rows[i]), &c), "\"%s\"", rows[i]);
}

// A number too long for any clock stays a number far away, on its own side.
Test(cookie, huge_max_ages) {
    struct lt_set_cookie c;
    cr_assert(lt_set_cookie_parse(LT_S("a=b; max-age=99999999999999999999999999999999"), &c));
    cr_assert(c.has_max_age && c.max_age > INT64_C(1000000000000) && c.max_age <= INT64_MAX / 1000);
    cr_assert(lt_set_cookie_parse(LT_S("a=b; max-age=-99999999999999999999999999999999"), &c));
    cr_assert(c.has_max_age && c.max_age < 0 && c.max_age >= INT64_MIN / 1000);
}

Test(cookie, deletes) {
    const struct {
        struct lt_set_cookie c;
        bool deletes;
    } rows[] = {
        {{.has_max_age = false}, false},
        {{.has_max_age = true, .max_age = 0}, true},
        {{.has_max_age = true, .max_age = -1}, true},
        {{.has_max_age = true, .max_age = 1}, false},
        {{.has_expires = true, .expires = 999}, true},
        {{.has_expires = true, .expires = 1000}, true},
        {{.has_expires = true, .expires = 1001}, false},
        {{.has_expires = true, .expires = -1}, true},
        {{.has_max_age = true, .max_age = 1, .has_expires = true, .expires = 1}, false},
        {{.has_max_age = true, .max_age = 0, .has_expires = true, .expires = 5000}, true},
    };
    for (size_t i = 0; i < COUNT(rows); i++)
        cr_assert_eq(lt_set_cookie_deletes(&rows[i].c, 1000), rows[i].deletes, "row %zu", i);
}

Test(cookie, path_match) {
    static const struct {
        const char *cookie, *request;
        bool match;
    } rows[] = {
        {"", "/", true},      {"", "*", true},       {"/", "/", true},      {"/", "/a/b", true},
        {"/a", "/a", true},   {"/a", "/a/", true},   {"/a", "/a/b", true},  {"/a", "/ab", false},
        {"/a/", "/a", false}, {"/a/", "/a/b", true}, {"/a", "/A", false},   {"/a/b", "/a", false},
        {"/a", "/a?b", true}, {"/a", "/a?/b", true}, {"/a", "/?/a", false}, {"/a/b", "/a?/b", false},
        {"/", "*", false},    {"/a", "", false},
    };
    for (size_t i = 0; i < COUNT(rows); i++)
        cr_assert_eq(lt_cookie_path_match(lt_span_cstr(rows[i].cookie), lt_span_cstr(rows[i].request)), rows[i].match,
                     "cookie %s, request %s", rows[i].cookie, rows[i].request);
}

Test(cookie, dates) {
    static const struct {
        const char *text;
        int64_t seconds;
    } rows[] = {
        {"Sun, 06 Nov 1994 08:49:37 GMT", 784111777},
        {"Sunday, 06-Nov-94 08:49:37 GMT", 784111777},
        {"Sun Nov  6 08:49:37 1994", 784111777},
        {"Sun, 06-Nov-1994 08:49:37 GMT", 784111777},
        {"06 NOVEMBER 1994 8:49:37", 784111777},
        {"08:49:37 06 1994 nov", 784111777},
        {"Thu, 01 Jan 1970 00:00:00 GMT", 0},
        {"Thu, 01-Jan-70 00:00:01 GMT", 1},
        {"Wed, 31 Dec 1969 23:59:59 GMT", -1},
        {"Tue, 19 Jan 2038 03:14:08 GMT", 2147483648},
        {"Mon, 01-Jan-69 00:00:00 GMT", 3124224000},
        {"Thu, 29 Feb 2024 12:00:00 GMT", 1709208000},
        {"Fri, 31 Dec 9999 23:59:59 GMT", 253402300799},
        {"Mon, 01 Jan 1601 00:00:00 GMT", -11644473600},
        {"01 Jan 2020 00:00:00abc", 1577836800},
        {"01x Jan 2020x 00:00:00", 1577836800},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        int64_t ms = 0;
        char *copy = copy_of(rows[i].text);
        cr_assert(lt_cookie_date(lt_span(copy, strlen(rows[i].text)), &ms), "%s", rows[i].text);
        cr_assert_eq(ms, rows[i].seconds * 1000, "%s: %lld", rows[i].text, (long long)ms);
        free(copy);
    }
}

Test(cookie, what_is_no_date) {
    static const char *const rows[] = {
        "",
        "0",
        "-1",
        "never",
        "Sun, 06 Nov 1994",
        "Sun, 06 Nov 08:49:37",
        "Nov 1994 08:49:37",
        "06 1994 08:49:37",
        "00 Nov 1994 08:49:37",
        "32 Jan 1994 08:49:37",
        "06 Nov 1600 08:49:37",
        "06 Nov 19945 08:49:37",
        "06 Nov 1994 24:00:00",
        "06 Nov 1994 08:60:00",
        "06 Nov 1994 08:49:60",
        "06 Nov 1994 08:49",
        "06 Nov 1994 008:49:37",
        "06 Nov 1994 08:49:377",
        "30 Feb 2024 00:00:00",
        "29 Feb 2023 00:00:00",
        "29 Feb 1900 00:00:00",
        "31 Apr 2024 00:00:00",
    };
    int64_t ms;
    for (size_t i = 0; i < COUNT(rows); i++)
        cr_assert_not(lt_cookie_date(lt_span_cstr(rows[i]), &ms), "\"%s\"", rows[i]);
}

Test(cookie, names_and_values) {
    cr_assert(lt_cookie_name_ok(LT_S("PHPSESSID")));
    cr_assert(lt_cookie_name_ok(LT_S("__Host-a.b")));
    cr_assert_not(lt_cookie_name_ok(LT_S("")));
    cr_assert_not(lt_cookie_name_ok(LT_S("a b")));
    cr_assert_not(lt_cookie_name_ok(LT_S("a=b")));
    cr_assert_not(lt_cookie_name_ok(LT_S("a;")));
    cr_assert_not(lt_cookie_name_ok(LT_S("a\r\n")));
    cr_assert(lt_cookie_value_ok(LT_S("")));
    cr_assert(lt_cookie_value_ok(LT_S("a=b/c+%20")));
    cr_assert(lt_cookie_value_ok(LT_S("\"a\"")));
    cr_assert(lt_cookie_value_ok(LT_S("\"\"")));
    cr_assert_not(lt_cookie_value_ok(LT_S("\"")));
    cr_assert_not(lt_cookie_value_ok(LT_S("\"a")));
    cr_assert_not(lt_cookie_value_ok(LT_S("a\"b")));
    static const char bad[] = " \t,;\\\r\n\177\200\377";
    for (size_t i = 0; i < sizeof bad; i++) { // its NUL too
        char text[] = {'a', bad[i], 'b'};
        cr_assert_not(lt_cookie_value_ok(lt_span(text, 3)), "byte 0x%02x", (unsigned char)bad[i]);
    }
}
