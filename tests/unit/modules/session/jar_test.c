// SPDX-License-Identifier: Apache-2.0
#include "modules/session/jar.h"

#include "http/h1_write.h"
#include "tests/rig/leaks.h"

#include <criterion/criterion.h>

TestSuite(jar, .fini = lt_rig_leaks);

static struct lt_span name_texts[] = {{"PHPSESSID", 9}, {"JSESSIONID", 10}, {"rack.session", 12}};
static const struct lt_option_list names = {name_texts, 3};
static const int64_t now = 1763942400000;

struct message {
    struct lt_arena arena;
    struct lt_h1_parser parser;
    struct lt_h1_head head;
};

static void read_message(struct message *m, const char *text, bool response) {
    lt_arena_init(&m->arena, 1 << 18);
    cr_assert(lt_h1_parser_init(&m->parser, &m->head, &m->arena, response, 1 << 16));
    cr_assert_eq(lt_h1_parse(&m->parser, &m->head, text, strlen(text)), LT_H1_DONE, "%s", text);
}

static void done(struct message *m) {
    lt_arena_fini(&m->arena);
}

static const char *field(const struct message *m, enum lt_hdr id) {
    static char text[512];
    const struct lt_header *f = lt_headers_get(&m->head.headers, id);
    snprintf(text, sizeof text, "%.*s", f ? (int)f->value.n : 4, f ? f->value.p : "none");
    return text;
}

Test(jar, strips_requests_and_leaves_the_rest_as_it_was) {
    static const struct {
        const char *cookie, *left, *token;
        bool secure;
    } rows[] = {
        {"lethe=abc", "none", "abc", false},
        {"a=1; lethe=abc; b=2", "a=1; b=2", "abc", false},
        {"lethe=abc; a=1", "a=1", "abc", false},
        {"a=1;lethe=abc;b=2", "a=1;b=2", "abc", false},
        {"a=1 ;  b=\"x;y\" ; PHPSESSID=p", "a=1 ;  b=\"x;y\"", "", false},
        {"a; =b; c=; PHPSESSID=1; JSESSIONID=2; d=4", "a; =b; c=; d=4", "", false},
        {"lethe=one; lethe=two", "none", "one", false},
        {"__Host-lethe=s; lethe=plain; a=1", "a=1", "plain", false},
        {"__Host-lethe=s; lethe=plain; a=1", "a=1", "s", true},
        {"xlethe=1; lethex=2", "xlethe=1; lethex=2", "", false},
        {"theme=dark", "theme=dark", "", false},
        {"lethe.1=part; a=1; lethe=2~x; lethe.1=late", "a=1", "2~x", false},
        {"__Host-lethe.1=part; lethe.1=plain; __Host-lethe=2~x", "none", "2~x", true},
        {"lethe.8=x; lethe.9=9; lethe.0=0; lethe.10=1; lethe.=2; lethe.a=3",
         "lethe.9=9; lethe.0=0; lethe.10=1; lethe.=2; lethe.a=3", "", false},
        {"", "", "", false},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct message m;
        char text[512];
        struct client_cookie cookie;
        snprintf(text, sizeof text, "GET / HTTP/1.1\r\nHost: a\r\nCookie: %s\r\n\r\n", rows[i].cookie);
        read_message(&m, text, false);
        cr_assert(jar_strip_request(&m.head, &m.arena, &names, LT_S("lethe"), rows[i].secure, &cookie));
        cr_assert_str_eq(field(&m, LT_HDR_COOKIE), rows[i].left, "of \"%s\"", rows[i].cookie);
        struct lt_span token = cookie.part[0], second = cookie.part[1];
        cr_assert(lt_span_eq(token, lt_span_cstr(rows[i].token)), "of \"%s\": %.*s", rows[i].cookie, (int)token.n,
                  token.p);
        cr_assert(second.n == 0 || lt_span_eq(second, LT_S("part")), "of \"%s\"", rows[i].cookie);
        cr_assert_eq(second.n > 0, strstr(rows[i].cookie, "=part") != NULL, "of \"%s\"", rows[i].cookie);
        done(&m);
    }
}

Test(jar, puts_back_what_matches_the_path) {
    struct lt_record *r = lt_record_new(now);
    struct lt_record_cookie all = {.name = LT_S("PHPSESSID"), .value = LT_S("p")},
                            shop = {.name = LT_S("JSESSIONID"), .value = LT_S("j"), .path = LT_S("/shop")};
    cr_assert(lt_record_set_cookie(r, &all) && lt_record_set_cookie(r, &shop));
    static const struct {
        const char *request, *cookie;
    } rows[] = {
        {"GET / HTTP/1.1\r\nHost: a\r\n\r\n", "PHPSESSID=p"},
        {"GET /shop/1?x HTTP/1.1\r\nHost: a\r\n\r\n", "PHPSESSID=p; JSESSIONID=j"},
        {"GET /shopping HTTP/1.1\r\nHost: a\r\n\r\n", "PHPSESSID=p"},
        {"GET / HTTP/1.1\r\nHost: a\r\nCookie: a=1;b=2\r\n\r\n", "a=1;b=2; PHPSESSID=p"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct message m;
        read_message(&m, rows[i].request, false);
        cr_assert(jar_restore(&m.head, &m.arena, r));
        cr_assert_str_eq(field(&m, LT_HDR_COOKIE), rows[i].cookie);
        done(&m);
    }
    lt_record_free(r);
}

static struct jar_result answer_with(struct lt_record *r, const char *cookies, bool carried) {
    struct message m;
    struct jar_changes changes;
    char text[1024];
    snprintf(text, sizeof text, "HTTP/1.1 200 OK\r\n%s\r\n", cookies);
    read_message(&m, text, true);
    jar_take_response(&m.head, &names, &changes);
    struct jar_result result = jar_apply(&changes, r, &names, carried, now);
    for (struct lt_header *f = NULL; (f = lt_headers_next(&m.head.headers, LT_HDR_SET_COOKIE, f));)
        cr_assert(lt_span_starts(f->value, LT_S("theme=")), "only others pass");
    done(&m);
    return result;
}

static struct jar_result answer(struct lt_record *r, const char *cookies) {
    return answer_with(r, cookies, false);
}

Test(jar, what_a_carrier_carries_has_an_id) {
    struct lt_record *r = lt_record_new(now);
    cr_assert_not(answer_with(r, "Set-Cookie: rack.session=a\r\n", true).moved);
    cr_assert(answer_with(r, "Set-Cookie: rack.session=b\r\n", true).moved, "a login");
    cr_assert_not(answer_with(r, "Set-Cookie: rack.session=b\r\n", true).moved);
    lt_record_free(r);
}

Test(jar, learns_from_answers) {
    struct lt_record *r = lt_record_new(now);
    struct jar_result got = answer(r, "Set-Cookie: theme=dark\r\nSet-Cookie: PHPSESSID=one; path=/; HttpOnly\r\n");
    cr_assert(got.set == 1 && !got.moved && !got.failed && r->n_cookies == 1 && r->changed);
    r->changed = false;
    got = answer(r, "Set-Cookie: PHPSESSID=one; path=/; HttpOnly\r\n");
    cr_assert(got.set == 1 && !got.moved && !r->changed, "the same again");
    got = answer(r, "Set-Cookie: PHPSESSID=two; path=/; HttpOnly\r\n");
    cr_assert(got.moved && r->changed && r->n_cookies == 1);
    got = answer(r, "Set-Cookie: JSESSIONID=first\r\n");
    cr_assert(got.moved, "a first id beside what there is: a login");
    got = answer(r, "Set-Cookie: JSESSIONID=; Max-Age=0\r\n");
    got = answer(r, "Set-Cookie: rack.session=a\r\n");
    cr_assert_not(got.moved);
    got = answer(r, "Set-Cookie: rack.session=b\r\n");
    cr_assert(!got.moved, "a new value of such a one means nothing");
    cr_assert_eq(jar_persists_until(r), 0);
    got = answer(r, "Set-Cookie: rack.session=b; Max-Age=60\r\n");
    cr_assert_eq(jar_persists_until(r), now + 60000);
    got = answer(r, "Set-Cookie: rack.session=b; Max-Age=99999999999999999\r\n");
    cr_assert_eq(jar_persists_until(r), now + INT64_C(400) * 24 * 3600 * 1000);
    got = answer(r, "Set-Cookie: PHPSESSID=deleted; expires=Thu, 01-Jan-1970 00:00:01 GMT; Max-Age=0; path=/\r\n"
                    "Set-Cookie: rack.session=; Max-Age=0\r\n");
    cr_assert(got.deleted == 2 && r->n_cookies == 0);
    lt_record_free(r);
}

Test(jar, jsessionid_in_paths_and_locations) {
    static const struct {
        const char *before, *after;
    } rows[] = {
        {"/a;jsessionid=AB12.node1?x=1", "/a?x=1"},
        {"/a;JSESSIONID=AB12", "/a"},
        {"/a;jsessionid=AB/b", "/a/b"},
        {"/a;v=1;jsessionid=AB;w=2", "/a;v=1;w=2"},
        {"/a?x=;jsessionid=AB", "/a?x=;jsessionid=AB"},
        {"/a;jsession=1", "/a;jsession=1"},
        {"/a;jsessionid=", "/a"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct message m;
        char text[256];
        snprintf(text, sizeof text, "GET %s HTTP/1.1\r\nHost: a\r\n\r\n", rows[i].before);
        read_message(&m, text, false);
        cr_assert(jar_strip_path(&m.head, &m.arena));
        cr_assert(lt_span_eq(m.head.path, lt_span_cstr(rows[i].after)), "%s: %.*s", rows[i].before, (int)m.head.path.n,
                  m.head.path.p);
        done(&m);
        snprintf(text, sizeof text, "HTTP/1.1 302 Found\r\nLocation: http://a%s\r\n\r\n", rows[i].before);
        read_message(&m, text, true);
        cr_assert(jar_strip_location(&m.head, &m.arena));
        cr_assert_str_eq(field(&m, LT_HDR_LOCATION) + 8, rows[i].after);
        done(&m);
    }
}
