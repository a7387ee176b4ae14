// SPDX-License-Identifier: Apache-2.0
#include "modules/state_api/state_api.h"

#include "base/lost.h"
#include "modules/state_api/state.h"
#include "tests/rig/fake_store.h"
#include "tests/rig/leaks.h"
#include "tests/rig/rig.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <unistd.h>

#define STORE "--store=redis://127.0.0.1:1/0"
#define LISTEN "--state_api.listen=unix:/tmp/x"

static struct rig *rig;

static void begin_as(enum lt_role role, const char *profile) {
    static char flag[64];
    snprintf(flag, sizeof flag, "--state_api.profile=%s", profile);
    rig = rig_new(
        &(struct rig_setup){.module = &lt_module_state_api,
                            .flags = RIG_FLAGS(STORE, LISTEN, flag, "--state_api.max_size=1k", "--upstream=127.0.0.1:1"),
                            .role = role});
    cr_assert(rig);
}

static void begin(void) {
    lt_log_setup(LT_LOG_ERROR, LT_LOG_TEXT);
    fake_store_reset();
    lt_lost_reset();
    begin_as(LT_ROLE_OWN, "cherrypy");
}

static void end(void) {
    rig_free(rig);
    lt_rig_leaks();
}

TestSuite(state_api, .init = begin, .fini = end);

static struct rig_exchange *ask_with(const char *line, const char *fields, const char *body, size_t piece) {
    char head[1024];
    struct rig_exchange *x = rig_exchange_new(rig);
    snprintf(head, sizeof head, "%s HTTP/1.1\nHost: l\nContent-Length: %zu\n%s", line, strlen(body), fields);
    x->request_body = lt_span_cstr(body);
    x->piece = piece;
    rig_request(x, head);
    for (int i = 0; x->verdict == LT_WAIT && i < 2000; i++)
        rig_advance(rig, 10);
    cr_assert_eq(x->verdict, LT_REPLY, "%s", line);
    return x;
}

// The status; the exchange is over.
static int ask(const char *line, const char *fields, const char *body) {
    struct rig_exchange *x = ask_with(line, fields, body, 0);
    int status = x->status;
    rig_exchange_free(x);
    return status;
}

static void expect(const char *line, const char *body) {
    struct rig_exchange *x = ask_with(line, "", "", 0);
    cr_assert_eq(x->status, 200);
    cr_assert_str_eq(x->body, body);
    rig_exchange_free(x);
}

Test(state_api, write_and_read_whole_and_byte_by_byte) {
    for (size_t piece = 0; piece < 3; piece++) {
        struct rig_exchange *x = ask_with("PUT /v1/sessions/abcdefgh", "", "content of a session", piece);
        cr_assert_eq(x->status, 204);
        cr_assert_not_null(rig_reply_field(x, "ETag"));
        rig_exchange_free(x);
        expect("GET /v1/sessions/abcdefgh", "content of a session");
    }
    cr_assert_eq(ask("GET /v1/sessions/other", "", ""), 404);
    cr_assert_eq(rig_metric(rig, "lethe_state_api_operations_total", "op=\"write\",result=\"ok\""), 3);
}

Test(state_api, a_body_over_the_limit_writes_nothing) {
    char large[1100];
    memset(large, 'x', sizeof large - 1);
    large[sizeof large - 1] = '\0';
    cr_assert_eq(ask("PUT /v1/sessions/abcdefgh", "", large), 413);
    cr_assert_eq(ask("GET /v1/sessions/abcdefgh", "", ""), 404);
}

Test(state_api, conditions) {
    struct rig_exchange *x = ask_with("PUT /v1/sessions/abcdefgh", "If-None-Match: *\n", "1", 0);
    char match[64];
    snprintf(match, sizeof match, "If-Match: %s\n", rig_reply_field(x, "ETag"));
    rig_exchange_free(x);
    cr_assert_eq(ask("PUT /v1/sessions/abcdefgh", "If-None-Match: *\n", "2"), 412);
    cr_assert_eq(ask("PUT /v1/sessions/abcdefgh", match, "2"), 204);
    cr_assert_eq(ask("PUT /v1/sessions/abcdefgh", match, "3"), 412);
    cr_assert_eq(ask("PUT /v1/sessions/abcdefgh", "If-Match: 1\n", "3"), 400);
    cr_assert_eq(ask("PUT /v1/sessions/abcdefgh", "If-None-Match: \"1\"\n", "3"), 400);
    expect("GET /v1/sessions/abcdefgh", "2");
}

Test(state_api, deleted_is_final) {
    cr_assert_eq(ask("PUT /v1/sessions/abcdefgh", "", "1"), 204);
    cr_assert_eq(ask("DELETE /v1/sessions/abcdefgh", "", ""), 204);
    cr_assert_eq(ask("GET /v1/sessions/abcdefgh", "", ""), 410);
    cr_assert_eq(ask("PUT /v1/sessions/abcdefgh", "", "2"), 410);
    cr_assert_eq(ask("POST /v1/sessions/abcdefgh/touch", "", ""), 410);
}

Test(state_api, rename_moves_the_blob) {
    cr_assert_eq(ask("PUT /v1/sessions/abcdefgh", "", "1"), 204);
    cr_assert_eq(ask("POST /v1/sessions/abcdefgh/rename", "", ""), 400);
    fake_store_log();
    cr_assert_eq(ask("POST /v1/sessions/abcdefgh/rename", "Lethe-To: new%2Fid\n", ""), 204);
    cr_assert_str_eq(fake_store_log(), "load put end");
    expect("GET /v1/sessions/new%2Fid", "1");
    cr_assert_eq(ask("GET /v1/sessions/abcdefgh", "", ""), 410);
}

Test(state_api, locks) {
    struct rig_exchange *x = ask_with("POST /v1/sessions/abcdefgh/lock", "", "", 0);
    char owner[96];
    snprintf(owner, sizeof owner, "Lethe-Lock: %s\n", rig_reply_field(x, "Lethe-Lock"));
    rig_exchange_free(x);
    cr_assert_eq(ask("POST /v1/sessions/abcdefgh/lock", "", ""), 423);
    cr_assert_eq(ask("POST /v1/sessions/abcdefgh/lock", "Lethe-Wait: 100\n", ""), 423);
    cr_assert_eq(ask("PUT /v1/sessions/abcdefgh", "Lethe-Lock: somebody\n", "1"), 423);
    cr_assert_eq(ask("PUT /v1/sessions/abcdefgh", owner, "1"), 204);
    cr_assert_eq(ask("DELETE /v1/sessions/abcdefgh/lock", "", ""), 400);
    cr_assert_eq(ask("DELETE /v1/sessions/abcdefgh/lock", owner, ""), 204);
    cr_assert_eq(ask("POST /v1/sessions/abcdefgh/lock", "", ""), 204);
}

// Whoever leaves while he waits for a lock has it given back.
Test(state_api, a_lock_for_nobody_is_given_back) {
    struct rig_exchange *x = rig_exchange_new(rig);
    fake_store_hold(true);
    cr_assert_eq(rig_request(x, "POST /v1/sessions/abcdefgh/lock HTTP/1.1\nHost: l\n"), LT_WAIT);
    cr_assert(rig_close(x));
    rig_exchange_free(x);
    fake_store_hold(false);
    rig_turn(rig);
    cr_assert_str_eq(fake_store_log(), "lock release");
    cr_assert_eq(ask("POST /v1/sessions/abcdefgh/lock", "", ""), 204);
}

Test(state_api, a_store_that_is_away_is_no_miss) {
    static const char *const lines[] = {"GET /v1/sessions/abcdefgh", "PUT /v1/sessions/abcdefgh",
                                        "DELETE /v1/sessions/abcdefgh", "POST /v1/sessions/abcdefgh/touch",
                                        "POST /v1/sessions/abcdefgh/lock"};
    static const enum lt_store_kind kinds[] = {LT_STORE_LOAD, LT_STORE_PUT, LT_STORE_END, LT_STORE_TOUCH, LT_STORE_LOCK};
    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++) {
        fake_store_next(kinds[i], LT_STORE_DOWN);
        cr_assert_eq(ask(lines[i], "", "x"), 503, "%s", lines[i]);
    }
}

Test(state_api, peers) {
    struct rig_exchange *x = rig_exchange_new(rig);
    x->peer_uid = 12345;
    cr_assert_eq(rig_request(x, "GET /v1/sessions/abcdefgh HTTP/1.1\nHost: l\n"), LT_REPLY);
    cr_assert_eq(x->status, 403);
    rig_exchange_free(x);
    x = rig_exchange_new(rig);
    x->peer_uid = (int)geteuid();
    cr_assert_eq(rig_request(x, "GET /v1/sessions/abcdefgh HTTP/1.1\nHost: l\n"), LT_WAIT);
    rig_turn(rig);
    rig_exchange_free(x);
}

Test(state_api, routes) {
    static const char *const bad[] = {"GET /metrics",
                                      "GET /v1/sessions/",
                                      "GET /v1/sessions/a/b",
                                      "POST /v1/sessions/abcdefgh",
                                      "PUT /v1/sessions/a/touch",
                                      "GET /v1/adapters/node"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        cr_assert_eq(ask(bad[i], "", ""), 404, "%s", bad[i]);
    cr_assert_eq(ask("GET /v1/sessions/a%2", "", ""), 400);
    cr_assert_eq(ask("POST /v1/adapters/node", "Lethe-Store: x\nLethe-Status: hooked\n", ""), 204);
    cr_assert_eq(rig_metric(rig, "lethe_adapters_total", "status=\"hooked\""), 1);
}

// --- what the proxy's side knows of requests under way ---

static struct lt_record *record_with(const char *value) {
    struct lt_record *r = lt_record_new(0);
    struct lt_record_cookie cookie = {.name = LT_S("sid"), .value = lt_span_cstr(value)};
    cr_assert(lt_record_set_cookie(r, &cookie));
    return r;
}

Test(state_api, a_write_builds_on_what_its_request_has_read) {
    struct in_flight flight = {0};
    struct lt_record *r = record_with("s%3Aabcdefgh.sig");
    cr_assert_eq(ask("PUT /v1/sessions/abcdefgh", "", "1"), 204);
    in_flight_add(&flight, r, LT_S("/cart/add?x"));
    expect("GET /v1/sessions/abcdefgh", "1");
    fake_store_touch(); // while this one was held up, another replica has written
    cr_assert_eq(ask("PUT /v1/sessions/abcdefgh", "", "late"), 412);
    in_flight_remove(&flight);
    cr_assert_eq(ask("PUT /v1/sessions/abcdefgh", "", "a program of nobody's request"), 204);
    lt_record_free(r);
}

Test(state_api, a_miss_of_a_request_under_way_is_a_lost_session) {
    static const char *const ids[] = {"abcdefgh", "koa:sess:s:abcdefgh.sig", "stranger0"};
    struct lt_lost row;
    struct in_flight flight = {0};
    struct lt_record *r = record_with("s%3Aabcdefgh.sig");
    in_flight_add(&flight, r, LT_S("/cart/add?x"));
    for (size_t i = 0; i < sizeof ids / sizeof *ids; i++) {
        char line[64];
        snprintf(line, sizeof line, "GET /v1/sessions/%s", ids[i]);
        cr_assert_eq(ask(line, "", ""), 404);
    }
    cr_assert_eq(lt_lost_look(&row, 1), 1);
    cr_assert(row.count == 2 && strcmp(row.route, "/cart") == 0);
    in_flight_remove(&flight);
    lt_record_free(r);
}

// --- the proxy's side ---

Test(state_api, answers_wait_where_a_session_may_have_been_saved) {
    static const struct {
        const char *response;
        bool session, hold, settled;
    } rows[] = {
        {"HTTP/1.1 200 OK\n", false, false, false},
        {"HTTP/1.1 302 Found\nSet-Cookie: a=b\n", false, true, false},
        {"HTTP/1.1 200 OK\n", true, true, false},
        {"HTTP/1.1 200 OK\nContent-Type: text/event-stream\n", true, false, true},
    };
    rig_free(rig);
    begin_as(LT_ROLE_PROXY, "express");
    struct lt_record *r = record_with("abcdefgh");
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct lt_session session = {.record = r};
        struct rig_exchange *x = rig_exchange_new(rig);
        x->session = rows[i].session ? &session : NULL;
        cr_assert_eq(rig_request(x, "GET / HTTP/1.1\nHost: a\n"), LT_NEXT);
        cr_assert_eq(rig_response(x, rows[i].response), LT_NEXT);
        cr_assert(x->hold == rows[i].hold && session.settled == rows[i].settled, "%zu", i);
        rig_exchange_free(x);
    }
    lt_record_free(r);
}

Test(state_api, only_express_is_free) {
    cr_assert(lt_module_state_api.exclusive(rig->conf));
    rig_free(rig);
    begin_as(LT_ROLE_OWN, "express");
    cr_assert_not(lt_module_state_api.exclusive(rig->conf));
}
