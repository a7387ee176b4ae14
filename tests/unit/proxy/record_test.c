// SPDX-License-Identifier: Apache-2.0
#include "record.h"

#include "tests/rig/leaks.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>

TestSuite(record, .fini = lt_rig_leaks);

static const struct lt_span none = {0};

#define COOKIE(n, v, p, ...)                                                                                           \
    ((struct lt_record_cookie){.name = LT_S(n), .value = LT_S(v), .path = LT_S(p), __VA_ARGS__})

static void set(struct lt_record *r, struct lt_record_cookie c) {
    cr_assert(lt_record_set_cookie(r, &c));
}

static struct lt_record *sample(void) {
    struct lt_record *r = lt_record_new(1700000000123);
    cr_assert_not_null(r);
    r->used = 1700000099999;
    r->counter = UINT64_C(0x0102030405060708);
    set(r, COOKIE("PHPSESSID", "abc", "/", .http_only = true));
    set(r, COOKIE("remember", "", "/app", .domain = LT_S("example.org"), .expires = 1800000000000, .secure = true));
    cr_assert(lt_record_set_content(r, LT_S("files:abc"), LT_S("user|s:3:\"bob\";\0binary")));
    cr_assert(lt_record_set_content(r, LT_S("files:empty"), none));
    return r;
}

static struct lt_buf encode(const struct lt_record *r) {
    struct lt_buf out;
    lt_buf_init(&out, 64 << 20);
    cr_assert(lt_record_encode(r, &out));
    return out;
}

// Decodes a copy that ends where the text ends, so that a read beyond it is seen.
static struct lt_record *decode(struct lt_span bytes) {
    char *exact = malloc(bytes.n ? bytes.n : 1);
    if (bytes.n)
        memcpy(exact, bytes.p, bytes.n);
    struct lt_record *r = lt_record_decode(lt_span(exact, bytes.n));
    free(exact);
    return r;
}

static void assert_same(const struct lt_record *a, const struct lt_record *b) {
    cr_assert_arr_eq(a->id, b->id, LT_RECORD_ID);
    cr_assert(a->created == b->created && a->used == b->used && a->counter == b->counter);
    cr_assert(a->n_cookies == b->n_cookies && a->n_contents == b->n_contents);
    for (unsigned i = 0; i < a->n_cookies; i++) {
        const struct lt_record_cookie *x = &a->cookies[i], *y = &b->cookies[i];
        cr_assert(lt_span_eq(x->name, y->name) && lt_span_eq(x->value, y->value) && lt_span_eq(x->path, y->path));
        cr_assert(lt_span_eq(x->domain, y->domain) && x->expires == y->expires);
        cr_assert(x->secure == y->secure && x->http_only == y->http_only);
    }
    for (unsigned i = 0; i < a->n_contents; i++) {
        cr_assert(lt_span_eq(a->contents[i].name, b->contents[i].name));
        cr_assert(lt_span_eq(a->contents[i].bytes, b->contents[i].bytes));
    }
}

Test(record, new_is_empty_and_unlike_any_other) {
    struct lt_record *a = lt_record_new(5), *b = lt_record_new(5);
    cr_assert(a && b);
    cr_assert(a->created == 5 && a->used == 5 && a->counter == 0 && a->n_cookies == 0 && a->n_contents == 0 &&
              !a->changed);
    cr_assert_arr_neq(a->id, b->id, LT_RECORD_ID);
    lt_record_free(a);
    lt_record_free(b);
    lt_record_free(NULL);
}

// --- the stored form ---

Test(record, stored_form_is_what_the_header_says) {
    static const char want[] = "\x01"
                               "0123456789abcdef"
                               "\0\0\0\0\0\0\0\x02"
                               "\0\0\0\0\0\0\x01\x03"
                               "\0\0\0\0\0\0\0\x04"
                               "\0\x01"
                               "\0\x01n\0\x02vw\0\x01/\0\x03o.r\0\0\0\0\0\0\0\x05\x03"
                               "\0\x01"
                               "\0\x01"
                               "c\0\0\0\x02\0b";
    struct lt_record *r = lt_record_new(2);
    memcpy(r->id, "0123456789abcdef", LT_RECORD_ID);
    r->used = 0x103;
    r->counter = 4;
    set(r, COOKIE("n", "vw", "/", .domain = LT_S("o.r"), .expires = 5, .secure = true, .http_only = true));
    cr_assert(lt_record_set_content(r, LT_S("c"), LT_S("\0b")));
    struct lt_buf out = encode(r);
    cr_assert_eq(out.len, sizeof want - 1);
    cr_assert_arr_eq(out.p + out.off, want, sizeof want - 1);
    lt_buf_fini(&out);
    lt_record_free(r);
}

Test(record, comes_back_as_it_was) {
    struct lt_record *r = sample();
    struct lt_buf out = encode(r);
    struct lt_record *again = decode(lt_buf_span(&out));
    cr_assert_not_null(again);
    cr_assert_not(again->changed);
    assert_same(r, again);
    lt_record_free(again);
    lt_buf_fini(&out);
    lt_record_free(r);
}

Test(record, every_cut_and_anything_behind_is_refused) {
    struct lt_record *r = sample();
    struct lt_buf out = encode(r);
    for (size_t n = 0; n < out.len; n++)
        cr_assert_null(decode(lt_span(out.p + out.off, n)), "cut to %zu bytes", n);
    cr_assert(lt_buf_append(&out, LT_S("\0")));
    cr_assert_null(decode(lt_buf_span(&out)), "one byte more");
    lt_buf_fini(&out);
    lt_record_free(r);
}

// A record with one cookie, no contents; `at` is changed to `to`.
static struct lt_record *decode_with(size_t at, char to) {
    struct lt_record *r = lt_record_new(1);
    set(r, COOKIE("n", "v", "/"));
    struct lt_buf out = encode(r);
    out.p[out.off + at] = to;
    struct lt_record *again = decode(lt_buf_span(&out));
    lt_buf_fini(&out);
    lt_record_free(r);
    return again;
}

Test(record, single_wrong_bytes) {
    enum { CREATED = 17, USED = 25, COOKIES = 41, NAME = 43, EXPIRES = 54, FLAGS = 62, CONTENTS = 63 };
    static const struct {
        size_t at;
        char to;
        const char *what;
    } rows[] = {
        {0, 0, "version 0"},
        {0, 2, "version 2"},
        {CREATED, '\x80', "created before 1970"},
        {USED, '\xff', "used before 1970"},
        {COOKIES, 1, "257 cookies"},
        {COOKIES + 1, LT_RECORD_COOKIES + 1, "a cookie too many"},
        {COOKIES + 1, 0, "no cookie, but there is one"},
        {NAME, '\xff', "a name longer than the record"},
        {EXPIRES, '\x80', "expires before 1970"},
        {FLAGS, 4, "an unknown flag"},
        {FLAGS, '\x80', "another"},
        {CONTENTS + 1, LT_RECORD_CONTENTS + 1, "a content too many"},
        {CONTENTS + 1, 1, "a content that is not there"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        cr_assert_null(decode_with(rows[i].at, rows[i].to), "%s", rows[i].what);
    struct lt_record *right = decode_with(FLAGS, 3);
    cr_assert(right && right->cookies[0].secure && right->cookies[0].http_only);
    lt_record_free(right);
}

// A record of so many cookies and contents, each of them whole.
static struct lt_record *decode_many(unsigned cookies, unsigned contents) {
    static const char head[] = "\x01"
                               "0123456789abcdef\0\0\0\0\0\0\0\1\0\0\0\0\0\0\0\1\0\0\0\0\0\0\0\0";
    static const char cookie[] = "\0\1n\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0", content[] = "\0\1c\0\0\0\1b";
    struct lt_buf b;
    lt_buf_init(&b, 8192);
    bool ok =
        lt_buf_append(&b, lt_span(head, sizeof head - 1)) && lt_buf_append(&b, lt_span((char[2]){0, (char)cookies}, 2));
    for (unsigned i = 0; i < cookies; i++)
        ok = ok && lt_buf_append(&b, lt_span(cookie, sizeof cookie - 1));
    ok = ok && lt_buf_append(&b, lt_span((char[2]){0, (char)contents}, 2));
    for (unsigned i = 0; i < contents; i++)
        ok = ok && lt_buf_append(&b, lt_span(content, sizeof content - 1));
    cr_assert(ok);
    struct lt_record *r = decode(lt_buf_span(&b));
    lt_buf_fini(&b);
    return r;
}

Test(record, no_more_than_there_is_room_for) {
    struct lt_record *r = decode_many(LT_RECORD_COOKIES, LT_RECORD_CONTENTS);
    cr_assert(r && r->n_cookies == LT_RECORD_COOKIES && r->n_contents == LT_RECORD_CONTENTS);
    lt_record_free(r);
    cr_assert_null(decode_many(LT_RECORD_COOKIES + 1, 0));
    cr_assert_null(decode_many(0, LT_RECORD_CONTENTS + 1));
}

Test(record, names_are_not_empty) {
    static const char head[] = "\x01"
                               "0123456789abcdef\0\0\0\0\0\0\0\1\0\0\0\0\0\0\0\1\0\0\0\0\0\0\0\0";
    static const char *const tails[] = {"\0\1\0\0\0\1v\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0", "\0\0\0\1\0\0\0\0\0\1b"};
    static const size_t sizes[] = {22, 11};
    for (size_t i = 0; i < 2; i++) {
        struct lt_buf b;
        lt_buf_init(&b, 1000);
        cr_assert(lt_buf_append(&b, lt_span(head, sizeof head - 1)) && lt_buf_append(&b, lt_span(tails[i], sizes[i])));
        cr_assert_null(decode(lt_buf_span(&b)), "%zu", i);
        lt_buf_fini(&b);
    }
}

Test(record, encode_tells_that_the_buffer_is_full) {
    struct lt_record *r = sample();
    struct lt_buf whole = encode(r), out;
    for (size_t max = 0; max < whole.len; max++) {
        lt_buf_init(&out, max);
        cr_assert_not(lt_record_encode(r, &out), "%zu bytes", max);
        lt_buf_fini(&out);
    }
    lt_buf_init(&out, whole.len);
    cr_assert(lt_record_encode(r, &out));
    lt_buf_fini(&out);
    lt_buf_fini(&whole);
    lt_record_free(r);
}

Test(record, copy_is_deep) {
    struct lt_record *r = sample(), *copy = lt_record_copy(r);
    cr_assert_not_null(copy);
    assert_same(r, copy);
    set(copy, COOKIE("PHPSESSID", "new", "/"));
    cr_assert(lt_record_set_content(copy, LT_S("files:abc"), LT_S("other")));
    cr_assert(lt_span_eq(lt_record_cookie(r, LT_S("PHPSESSID"))->value, LT_S("abc")));
    cr_assert(lt_span_starts(lt_record_content(r, LT_S("files:abc"))->bytes, LT_S("user|")));
    lt_record_free(r);
    cr_assert(lt_span_eq(lt_record_cookie(copy, LT_S("remember"))->domain, LT_S("example.org")));
    lt_record_free(copy);
}

// --- the jar ---

Test(record, cookies_are_told_apart_by_name_path_and_domain) {
    struct lt_record *r = lt_record_new(1);
    set(r, COOKIE("a", "1", "/"));
    set(r, COOKIE("a", "2", "/x"));
    set(r, COOKIE("a", "3", "/", .domain = LT_S("d")));
    set(r, COOKIE("A", "4", "/"));
    cr_assert_eq(r->n_cookies, 4);
    set(r, COOKIE("a", "5", "/"));
    cr_assert_eq(r->n_cookies, 4);
    cr_assert(lt_span_eq(lt_record_cookie(r, LT_S("a"))->value, LT_S("5")), "replaced in its place");
    cr_assert_null(lt_record_cookie(r, LT_S("b")));
    cr_assert_null(lt_record_cookie(r, none));
    lt_record_free(r);
}

Test(record, changed_only_when_something_differs) {
    struct lt_record *r = lt_record_new(1);
    struct lt_record_cookie c = COOKIE("a", "1", "/", .expires = 7);
    set(r, c);
    cr_assert(r->changed);
    r->changed = false;
    set(r, c);
    cr_assert_not(r->changed);
    static const struct lt_record_cookie others[] = {
        {.name = {"a", 1}, .value = {"2", 1}, .path = {"/", 1}, .expires = 7},
        {.name = {"a", 1}, .value = {"2", 1}, .path = {"/", 1}, .expires = 8},
        {.name = {"a", 1}, .value = {"2", 1}, .path = {"/", 1}, .expires = 8, .secure = true},
        {.name = {"a", 1}, .value = {"2", 1}, .path = {"/", 1}, .expires = 8, .secure = true, .http_only = true},
    };
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
        r->changed = false;
        set(r, others[i]);
        cr_assert(r->changed && r->n_cookies == 1, "%zu", i);
    }
    r->changed = false;
    cr_assert_eq(lt_record_drop_cookie(r, LT_S("b"), none), 0);
    lt_record_expire_cookies(r, 7);
    cr_assert_not(r->changed);
    cr_assert(lt_record_set_content(r, LT_S("c"), LT_S("x")) && r->changed);
    r->changed = false;
    cr_assert(lt_record_set_content(r, LT_S("c"), LT_S("x")) && !r->changed);
    lt_record_drop_content(r, LT_S("d"));
    cr_assert_not(r->changed);
    lt_record_free(r);
}

Test(record, a_cookie_of_the_record_may_be_put_again) {
    struct lt_record *r = lt_record_new(1);
    set(r, COOKIE("a", "1", "/"));
    struct lt_record_cookie same = r->cookies[0]; // its texts are the record's
    same.http_only = true;
    set(r, same);
    cr_assert(r->n_cookies == 1 && r->cookies[0].http_only && lt_span_eq(r->cookies[0].value, LT_S("1")));
    lt_record_free(r);
}

Test(record, limits_of_the_jar) {
    struct lt_record *r = lt_record_new(1);
    char name[8];
    for (unsigned i = 0; i < LT_RECORD_COOKIES; i++) {
        snprintf(name, sizeof name, "c%u", i);
        set(r, (struct lt_record_cookie){.name = lt_span_cstr(name)});
    }
    r->changed = false;
    cr_assert_not(lt_record_set_cookie(r, &COOKIE("more", "", "")), "the jar is full");
    cr_assert(!r->changed && r->n_cookies == LT_RECORD_COOKIES);
    cr_assert(lt_record_set_cookie(r, &COOKIE("c31", "new", "")), "one that is there is replaced");
    lt_record_free(r);
}

// Each text of a cookie in turn as long as `n`.
static bool accepts(size_t n, size_t which) {
    struct lt_record *r = lt_record_new(1);
    char *text = calloc(1, n);
    struct lt_record_cookie c = COOKIE("a", "b", "/", .domain = LT_S("d"));
    struct lt_span *const texts[] = {&c.name, &c.value, &c.path, &c.domain};
    *texts[which] = lt_span(text, n);
    bool ok = lt_record_set_cookie(r, &c);
    cr_assert(r->n_cookies == ok && r->changed == ok);
    if (ok) {
        struct lt_buf out = encode(r);
        struct lt_record *again = decode(lt_buf_span(&out));
        cr_assert_not_null(again);
        assert_same(r, again);
        lt_record_free(again);
        lt_buf_fini(&out);
    }
    free(text);
    lt_record_free(r);
    return ok;
}

Test(record, what_does_not_fit_the_stored_form_is_refused) {
    for (size_t which = 0; which < 4; which++)
        cr_assert(accepts(65535, which) && !accepts(65536, which), "text %zu", which);
    struct lt_record *r = lt_record_new(1);
    cr_assert_not(lt_record_set_cookie(r, &COOKIE("", "b", "/")), "no name");
    cr_assert_not(lt_record_set_cookie(r, &COOKIE("a", "b", "/", .expires = -1)), "a time that cannot be read again");
    cr_assert_not(lt_record_set_content(r, none, LT_S("b")), "no name");
    cr_assert(!r->changed && r->n_cookies == 0 && r->n_contents == 0);
    lt_record_free(r);
}

static struct lt_record *three(void) {
    struct lt_record *r = lt_record_new(1);
    set(r, COOKIE("a", "1", "/"));
    set(r, COOKIE("b", "2", "/"));
    set(r, COOKIE("a", "3", "/x"));
    r->changed = false;
    return r;
}

Test(record, drop_cookie) {
    struct lt_record *r = three();
    cr_assert(lt_record_drop_cookie(r, LT_S("a"), LT_S("/y")) == 0 && !r->changed);
    cr_assert(lt_record_drop_cookie(r, LT_S("a"), LT_S("/")) == 1 && r->changed);
    cr_assert(lt_span_eq(lt_record_cookie(r, LT_S("a"))->value, LT_S("3")));
    cr_assert(lt_span_eq(r->cookies[0].value, LT_S("2")), "the others close up in order");
    lt_record_free(r);
    r = three();
    cr_assert_eq(lt_record_drop_cookie(r, LT_S("a"), none), 2, "whatever path");
    cr_assert(r->n_cookies == 1 && !lt_record_cookie(r, LT_S("a")) && lt_record_cookie(r, LT_S("b")));
    lt_record_free(r);
}

Test(record, drop_cookie_by_its_own_name) {
    struct lt_record *r = three();
    cr_assert_eq(lt_record_drop_cookie(r, r->cookies[2].name, none), 2, "both, though the text goes with the first");
    cr_assert_eq(r->n_cookies, 1);
    lt_record_free(r);
}

Test(record, expire_cookies) {
    struct lt_record *r = lt_record_new(1);
    set(r, COOKIE("session", "1", "/"));
    set(r, COOKIE("past", "2", "/", .expires = 999));
    set(r, COOKIE("now", "3", "/", .expires = 1000));
    set(r, COOKIE("future", "4", "/", .expires = 1001));
    r->changed = false;
    lt_record_expire_cookies(r, 1000);
    cr_assert(r->changed && r->n_cookies == 2);
    cr_assert(lt_record_cookie(r, LT_S("session")) && lt_record_cookie(r, LT_S("future")));
    lt_record_free(r);
}

// --- contents ---

Test(record, contents) {
    struct lt_record *r = lt_record_new(1);
    char name[8];
    for (unsigned i = 0; i < LT_RECORD_CONTENTS; i++) {
        snprintf(name, sizeof name, "c%u", i);
        cr_assert(lt_record_set_content(r, lt_span_cstr(name), lt_span_cstr(name)));
    }
    cr_assert_not(lt_record_set_content(r, LT_S("more"), LT_S("x")), "full");
    cr_assert(lt_record_set_content(r, LT_S("c3"), LT_S("new")));
    cr_assert(lt_span_eq(lt_record_content(r, LT_S("c3"))->bytes, LT_S("new")));
    r->changed = false;
    lt_record_drop_content(r, r->contents[0].name);
    cr_assert(r->changed && r->n_contents == LT_RECORD_CONTENTS - 1 && !lt_record_content(r, LT_S("c0")));
    cr_assert(lt_span_eq(r->contents[0].name, LT_S("c1")), "the others close up in order");
    cr_assert(lt_record_set_content(r, LT_S("c1"), lt_record_content(r, LT_S("c2"))->bytes),
              "bytes of the record itself");
    cr_assert(lt_span_eq(lt_record_content(r, LT_S("c1"))->bytes, LT_S("c2")));
    lt_record_free(r);
}

Test(record, large_content) {
    enum { SIZE = 3 << 20 };
    struct lt_record *r = lt_record_new(1);
    char *bytes = malloc(SIZE);
    for (size_t i = 0; i < SIZE; i++)
        bytes[i] = (char)(i * 31);
    cr_assert(lt_record_set_content(r, LT_S("files:x"), lt_span(bytes, SIZE)));
    struct lt_buf out = encode(r);
    struct lt_record *again = decode(lt_buf_span(&out));
    cr_assert_not_null(again);
    assert_same(r, again);
    lt_record_free(again);
    lt_buf_fini(&out);
    free(bytes);
    lt_record_free(r);
}
