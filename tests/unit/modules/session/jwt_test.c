// SPDX-License-Identifier: Apache-2.0
#include "modules/session/jwt.h"

#include "crypto/token.h"
#include "tests/rig/leaks.h"

#include <criterion/criterion.h>
#include <stdlib.h>

static const int64_t now = 1763942400123, idle = 60000, absolute = 600000;
static struct lt_arena arena;
static struct jwt jwt;
static struct jwt_conf conf;

static struct client_limits at(int64_t when) {
    return (struct client_limits){when, idle, absolute, 16384};
}

static void use(enum lt_jose_alg alg) {
    struct lt_key_ring ring = {.n = 1, .keys = {{.id = "k1"}}};
    char error[256];
    memset(ring.keys[0].secret, 7, LT_KEY_BYTES);
    conf = (struct jwt_conf){.alg = (int)alg, .issuer = LT_S("lethe"), .audience = LT_S("shop"), .leeway = 30000};
    cr_assert(jwt_init(&jwt, &conf, &ring, error, sizeof error), "%s", error);
}

static void begin(void) {
    lt_arena_init(&arena, 1 << 22);
    use(LT_JOSE_HS256);
}

static void end(void) {
    jwt_fini(&jwt);
    lt_arena_fini(&arena);
    lt_rig_leaks();
}

TestSuite(jwt, .init = begin, .fini = end);

static struct lt_record *record(void) {
    struct lt_record *r = lt_record_new(now);
    struct lt_record_cookie a = {.name = LT_S("PHPSESSID"), .value = LT_S("one"), .path = LT_S("/"), .http_only = true},
                            b = {.name = LT_S("caf\xe9"),
                                 .value = LT_S("\x80\xff\"\\\t<>"),
                                 .domain = LT_S("a.example"),
                                 .expires = now + 5000,
                                 .secure = true};
    cr_assert(r && lt_record_set_cookie(r, &a) && lt_record_set_cookie(r, &b));
    memset(r->id, 3, sizeof r->id);
    r->counter = 9;
    return r;
}

static struct lt_record *open_at(struct lt_span token, int64_t when) {
    struct client_limits limits = at(when);
    return jwt_open(&jwt, token, &limits);
}

static bool opens(struct lt_span token, int64_t when) {
    struct lt_record *r = open_at(token, when);
    lt_record_free(r);
    return r != NULL;
}

static struct lt_span make(const struct lt_record *r) {
    struct client_limits limits = at(now);
    bool too_large;
    return jwt_make(&jwt, r, &limits, &arena, &too_large);
}

Test(jwt, a_record_comes_back_as_it_was) {
    static const enum lt_jose_alg algs[] = {LT_JOSE_HS256, LT_JOSE_DIR_A256GCM};
    for (int i = 0; i < 2; i++) {
        jwt_fini(&jwt);
        use(algs[i]);
        struct lt_record *r = record();
        struct lt_span token = make(r);
        struct lt_record *back = open_at(token, now + 1);
        cr_assert(back && !back->changed && back->created == now && back->used == now && back->counter == 9);
        cr_assert_arr_eq(back->id, r->id, sizeof r->id);
        cr_assert_eq(back->n_cookies, 2);
        for (unsigned k = 0; k < 2; k++) {
            const struct lt_record_cookie *a = &r->cookies[k], *b = &back->cookies[k];
            cr_assert(lt_span_eq(a->name, b->name) && lt_span_eq(a->value, b->value) && lt_span_eq(a->path, b->path) &&
                      lt_span_eq(a->domain, b->domain));
            cr_assert(a->expires == b->expires && a->secure == b->secure && a->http_only == b->http_only);
        }
        lt_record_free(back);
        lt_record_free(r);
    }
}

// The stored form is a promise to others who read it, and to later versions.
Test(jwt, claims_as_they_are_written) {
    struct lt_record *r = record();
    struct client_limits limits = at(now);
    char *text = claims_print(r, &jwt.rules, &limits);
    cr_assert_str_eq(
        text,
        "{\"iss\":\"lethe\",\"aud\":\"shop\",\"jti\":\"AwMDAwMDAwMDAwMDAwMDAw\",\"iat\":1763942400,\"nbf\":1763942400,"
        "\"exp\":1763942461,\"lethe\":{\"created\":1763942400123,\"used\":1763942400123,\"counter\":9,\"jar\":["
        "{\"name\":\"PHPSESSID\",\"value\":\"one\",\"path\":\"/\",\"http_only\":true},"
        "{\"name\":\"caf\xc3\xa9\",\"value\":\"\xc2\x80\xc3\xbf\\\"\\\\\\t<>\",\"domain\":\"a.example\","
        "\"expires\":1763942405123,\"secure\":true}]}}");
    free(text);
    lt_record_free(r);
}

Test(jwt, any_changed_bit_is_refused) {
    static const enum lt_jose_alg algs[] = {LT_JOSE_HS256, LT_JOSE_DIR_A256GCM};
    for (int i = 0; i < 2; i++) {
        jwt_fini(&jwt);
        use(algs[i]);
        struct lt_record *r = record();
        struct lt_span token = make(r);
        char *text = (char *)token.p;
        for (size_t bit = 0; bit < token.n * 8; bit++) {
            text[bit / 8] = (char)(text[bit / 8] ^ (1 << bit % 8));
            cr_assert_not(opens(token, now), "bit %zu", bit);
            text[bit / 8] = (char)(text[bit / 8] ^ (1 << bit % 8));
        }
        cr_assert(opens(token, now));
        lt_record_free(r);
    }
}

Test(jwt, limits_of_time) {
    struct lt_record *r = record();
    struct lt_span token = make(r);
    cr_assert(opens(token, now + idle) && !opens(token, now + idle + 1));
    r->used = now + absolute;
    token = make(r);
    cr_assert(opens(token, now + absolute) && !opens(token, now + absolute + 1));
    r->used = now;
    token = make(r);
    cr_assert(opens(token, now - 30000) && !opens(token, now - 31000), "the clocks of two replicas");
    lt_record_free(r);
}

// Signed as it should be, by a key of ours: only what is in it is wrong.
static bool reads(const char *claims) {
    struct lt_buf token;
    lt_buf_init(&token, 1 << 16);
    cr_assert(lt_jose_make(&jwt.keys.keys[0], lt_span_cstr(claims), &token));
    bool ok = opens(lt_buf_span(&token), now);
    lt_buf_fini(&token);
    return ok;
}

#define ISS "\"iss\":\"lethe\","
#define AUD "\"aud\":\"shop\","
#define JTI "\"jti\":\"AwMDAwMDAwMDAwMDAwMDAw\","
#define TIMES "\"iat\":1763942400,\"nbf\":1763942400,\"exp\":1763942500,"
#define OWN(jar) "\"lethe\":{\"created\":1763942400123,\"used\":1763942400123,\"counter\":0,\"jar\":[" jar "]}"

Test(jwt, claims_that_are_not_ours) {
    cr_assert(reads("{" ISS AUD JTI TIMES OWN("") "}"));
    cr_assert(reads("{" ISS AUD JTI TIMES OWN("{\"name\":\"a\"}") "}"));
    static const char *const wrong[] = {
        "{" AUD JTI TIMES OWN("") "}",
        "{\"iss\":\"other\"," AUD JTI TIMES OWN("") "}",
        "{\"iss\":[\"lethe\"]," AUD JTI TIMES OWN("") "}",
        "{" ISS "\"aud\":\"other\"," JTI TIMES OWN("") "}",
        "{" ISS "\"aud\":[\"shop\"]," JTI TIMES OWN("") "}",
        "{" ISS AUD TIMES OWN("") "}",
        "{" ISS AUD "\"jti\":\"short\"," TIMES OWN("") "}",
        "{" ISS AUD JTI "\"iat\":1763942400,\"nbf\":1763942400," OWN("") "}",
        "{" ISS AUD JTI "\"iat\":1763942400,\"exp\":1763942500," OWN("") "}",
        "{" ISS AUD JTI "\"iat\":1763942400,\"nbf\":1763942400,\"exp\":1763942399," OWN("") "}",
        "{" ISS AUD JTI "\"iat\":1763942400,\"nbf\":1763942500,\"exp\":1763942900," OWN("") "}",
        "{" ISS AUD JTI "\"iat\":1763942500,\"nbf\":1763942400,\"exp\":1763942900," OWN("") "}",
        "{" ISS AUD JTI "\"iat\":1763942400,\"nbf\":1763942400,\"exp\":\"1763942500\"," OWN("") "}",
        "{" ISS AUD JTI "\"iat\":1763942400,\"nbf\":1763942400,\"exp\":1763942500.5," OWN("") "}",
        "{" ISS AUD JTI "\"iat\":1763942400,\"nbf\":1763942400,\"exp\":9223372036854775807," OWN("") "}",
        "{" ISS AUD JTI "\"iat\":1763942400,\"nbf\":-1,\"exp\":1763942500," OWN("") "}",
        "{" ISS ISS AUD JTI TIMES OWN("") "}",
        "{" ISS AUD JTI TIMES "\"lethe\":{}}",
        "{" ISS AUD JTI TIMES "\"lethe\":[]}",
        "{" ISS AUD JTI TIMES OWN("{}") "}",
        "{" ISS AUD JTI TIMES OWN("[]") "}",
        "{" ISS AUD JTI TIMES OWN("{\"name\":1}") "}",
        "{" ISS AUD JTI TIMES OWN("{\"name\":\"a\",\"secure\":1}") "}",
        "{" ISS AUD JTI TIMES OWN("{\"name\":\"a\",\"expires\":\"x\"}") "}",
        "{" ISS AUD JTI TIMES OWN("{\"name\":\"a\",\"value\":\"\xe2\x82\xac\"}") "}",
        "{" ISS AUD JTI TIMES OWN("") "} ",
        "[]",
        "x",
    };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        cr_assert_eq(reads(wrong[i]), wrong[i][strlen(wrong[i]) - 1] == ' ', "%s", wrong[i]); // white space is JSON
}

Test(jwt, too_large_is_said) {
    struct lt_record *r = record();
    struct client_limits limits = at(now);
    bool too_large;
    limits.max = 300;
    cr_assert(!jwt_make(&jwt, r, &limits, &arena, &too_large).p && too_large);
    lt_record_free(r);
}

static const char *headers_of(struct lt_h1_head *head) {
    static char text[512];
    text[0] = '\0';
    for (unsigned i = 0; i < head->headers.n; i++) {
        const struct lt_header *f = &head->headers.v[i];
        if (!f->dropped)
            snprintf(text + strlen(text), sizeof text - strlen(text), "%.*s=%.*s;", (int)f->name.n, f->name.p,
                     (int)f->value.n, f->value.n ? f->value.p : "");
    }
    return text;
}

Test(jwt, claims_as_headers) {
    struct lt_h1_parser parser;
    struct lt_h1_head head;
    struct lt_span entries[] = {LT_S("jti=X-Session-Id"), LT_S("cookie.PHPSESSID=X-Php"), LT_S("cookie.none=X-None"),
                                LT_S("iat=X-Used")};
    static const char request[] = "GET / HTTP/1.1\r\nHost: a\r\nx-session-id: forged\r\nX_Session_Id: forged\r\n"
                                  "X-Session_ID: forged\r\nX-None: forged\r\nX-Session-Ids: other\r\n\r\n";
    conf.claims_headers = (struct lt_option_list){entries, 4};
    cr_assert(lt_h1_parser_init(&parser, &head, &arena, false, 1 << 16));
    cr_assert_eq(lt_h1_parse(&parser, &head, request, sizeof request - 1), LT_H1_DONE);
    struct lt_record *r = record();
    jwt_strip_headers(&conf, &head);
    cr_assert_str_eq(headers_of(&head), "Host=a;X-Session-Ids=other;");
    cr_assert(jwt_add_headers(&conf, &head, r, &arena));
    cr_assert_str_eq(headers_of(&head),
                     "Host=a;X-Session-Ids=other;X-Session-Id=AwMDAwMDAwMDAwMDAwMDAw;X-Php=one;X-Used=1763942400;");
    lt_record_free(r);
}

Test(jwt, entries_of_claims_headers) {
    static const struct {
        const char *entry;
        bool ok;
    } rows[] = {{"jti=X-Id", true},       {"cookie.a=X-A", true}, {"iat=X-T", true},   {"sub=X-User", false},
                {"jti=", false},          {"jti", false},         {"=X-Id", false},    {"cookie.=X-A", false},
                {"jti=Host", false},      {"jti=Cookie", false},  {"jti=X Id", false}, {"jti=Content-Length", false},
                {"jti=Connection", false}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        cr_assert_eq(jwt_check_header(lt_span_cstr(rows[i].entry)) == NULL, rows[i].ok, "%s", rows[i].entry);
}
