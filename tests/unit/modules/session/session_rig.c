// SPDX-License-Identifier: Apache-2.0
#include "tests/unit/modules/session/session_rig.h"

struct rig *rig;

void end(void) {
    rig_free(rig);
    lt_rig_leaks();
}

void begin_with(bool exclusive, const char *store, const char *more) {
    fake_store_reset();
    lt_log_setup(LT_LOG_ERROR, LT_LOG_TEXT);
    rig = rig_new(&(struct rig_setup){.module = &lt_module_session,
                                      .flags = RIG_FLAGS("--upstream=127.0.0.1:1", store,
                                                         "--keys=k:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
                                                         "--session.exempt=*.css", more),
                                      .exclusive = exclusive});
    cr_assert(rig);
}

void expect_ops(const char *ops) {
    const char *got = fake_store_log();
    cr_assert_str_eq(got, ops, "asked of the store: \"%s\", expected \"%s\"", got, ops);
}

int64_t count(const char *event) {
    char labels[64];
    snprintf(labels, sizeof labels, "event=\"%s\"", event);
    return rig_metric(rig, "lethe_sessions_total", labels);
}

struct rig_exchange *ask(const char *cookie) {
    char head[512];
    struct rig_exchange *x = rig_exchange_new(rig);
    snprintf(head, sizeof head, "GET /page HTTP/1.1\nHost: a\n%s%s%s", *cookie ? "Cookie: " : "", cookie,
             *cookie ? "\n" : "");
    rig_request(x, head);
    rig_turn(rig);
    return x;
}

enum lt_verdict answer(struct rig_exchange *x, const char *fields) {
    char head[512];
    snprintf(head, sizeof head, "HTTP/1.1 200 OK\n%s", fields);
    rig_response(x, head);
    rig_turn(rig);
    return x->verdict;
}

enum lt_verdict finish(struct rig_exchange *x) {
    rig_end(x);
    rig_turn(rig);
    return x->verdict;
}

void over(struct rig_exchange *x) {
    rig_exchange_free(x);
    rig_turn(rig);
}

// The cookie as the client sends it back: "lethe=…".
const char *token_of(struct rig_exchange *x) {
    static char text[512];
    const char *fields = rig_response_field(x, "Set-Cookie"), *field = fields ? strstr(fields, "lethe=") : NULL;
    cr_assert(field, "%s", fields ? fields : "no Set-Cookie");
    snprintf(text, sizeof text, "%.*s", (int)strcspn(field, ";"), field);
    return text;
}

// A session whose cookie is PHPSESSID=one; returns the client's cookie.
const char *log_in(void) {
    struct rig_exchange *x = ask("");
    cr_assert_eq(answer(x, "Set-Cookie: PHPSESSID=one; path=/\n"), LT_NEXT);
    const char *token = token_of(x);
    cr_assert_eq(finish(x), LT_NEXT);
    over(x);
    fake_store_log();
    return token;
}
