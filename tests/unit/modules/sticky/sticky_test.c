// SPDX-License-Identifier: Apache-2.0
#include "modules/sticky/sticky.h"

#include "tests/rig/leaks.h"
#include "tests/rig/rig.h"

#include <criterion/criterion.h>
#include <stdio.h>

TestSuite(sticky, .fini = lt_rig_leaks);

static struct rig *rig_with(const char *const *flags) {
    struct rig *r = rig_new(&(struct rig_setup){.module = &lt_module_sticky, .flags = flags});
    cr_assert_not_null(r);
    return r;
}

// What one exchange makes of a Cookie field and of Set-Cookie lines; NULL: none is sent, none is expected.
static void expect(struct rig *r, const char *cookie, const char *want_cookie, const char *set, const char *want_set) {
    struct rig_exchange *x = rig_exchange_new(r);
    char head[1024];
    snprintf(head, sizeof head, "GET / HTTP/1.1\nHost: a\n%s%s%s", cookie ? "Cookie: " : "", cookie ? cookie : "",
             cookie ? "\n" : "");
    cr_assert_eq(rig_request(x, head), LT_NEXT);
    const char *got = rig_request_field(x, "cookie");
    cr_assert(want_cookie ? got && strcmp(got, want_cookie) == 0 : !got, "Cookie \"%s\" became \"%s\"",
              cookie ? cookie : "", got ? got : "(none)");
    snprintf(head, sizeof head, "HTTP/1.1 200 OK\n%s%s%s", set ? "Set-Cookie: " : "", set ? set : "", set ? "\n" : "");
    cr_assert_eq(rig_response(x, head), LT_NEXT);
    got = rig_response_field(x, "set-cookie");
    cr_assert(want_set ? got && strcmp(got, want_set) == 0 : !got, "Set-Cookie \"%s\" became \"%s\"", set ? set : "",
              got ? got : "(none)");
    cr_assert_eq(rig_end(x), LT_NEXT);
    rig_exchange_free(x);
}

static void expect_request(struct rig *r, const char *cookie, const char *want) {
    expect(r, cookie, want, NULL, NULL);
}

static void expect_response(struct rig *r, const char *set, const char *want) {
    expect(r, NULL, NULL, set, want);
}

static int64_t stripped(const struct rig *r, const char *product, const char *side) {
    char labels[96];
    snprintf(labels, sizeof labels, "product=\"%s\",side=\"%s\"", product, side);
    return rig_metric(r, "lethe_sticky_stripped_total", labels);
}

// --- affinity cookies ---

Test(sticky, everything_else_stays_byte_for_byte) {
    struct rig *r = rig_with(NULL);
    expect_request(r, NULL, NULL);
    expect_request(r, "a=1;b=\"x; y\" ;  c=; d; =e; $V=1;a=2", "a=1;b=\"x; y\" ;  c=; d; =e; $V=1;a=2");
    expect_request(r, "AWSALB=x", NULL);
    expect_request(r, "a=1; AWSALB=x; b=2;c=3", "a=1; b=2;c=3");
    expect_request(r, "AWSALB=x;  a=1;b=2", "a=1;b=2");
    expect_request(r, "a=1;;  b=2; GCLB=\"y\"", "a=1;;  b=2");
    expect_request(r, "AWSALB=x; GCLB=y; NSC_a=z", NULL);
    rig_free(r);
}

Test(sticky, untouched_fields_are_written_as_they_came) {
    struct rig *r = rig_with(NULL);
    struct rig_exchange *x = rig_exchange_new(r);
    cr_assert_eq(
        rig_request(x,
                    "GET /a?b HTTP/1.1\nHost: a\ncOOKIE:  a=1\nX-B: AWSALB=x\nCookie: AWSALB=x\nCookie: b=2; GCLB=y\n"),
        LT_NEXT);
    cr_assert_str_eq(rig_request_text(x), "GET /a?b HTTP/1.1\nHost: a\ncOOKIE:  a=1\nX-B: AWSALB=x\nCookie: b=2\n\n");
    cr_assert_eq(
        rig_response(x,
                     "HTTP/1.1 302 Found\nSet-Cookie: a=1 ;secure\nLocation: /AWSALB=x\nset-cookie: AWSALB=x; Path=/\n"
                     "Set-Cookie:AWSALBCORS=; Max-Age=0\nSet-Cookie: b=2\nSet-Cookie: AWSALB\n"),
        LT_NEXT);
    cr_assert_str_eq(
        rig_response_text(x),
        "HTTP/1.1 302 Found\nSet-Cookie: a=1 ;secure\nLocation: /AWSALB=x\nSet-Cookie: b=2\nSet-Cookie: AWSALB\n\n");
    rig_exchange_free(x);
    rig_free(r);
}

Test(sticky, counted_by_product_and_side) {
    struct rig *r = rig_with(RIG_FLAGS("--sticky.cookies=SERVERID,my_lb_*"));
    expect(r, "AWSALB=1; AWSALBCORS=1; BIGipServerx=1; a=2", "a=2", "AWSALB=1; Path=/", NULL);
    expect(r, "SERVERID=s1; my_lb_1=x; my_lb=x", "my_lb=x", "my_lb_2=x", NULL);
    cr_assert(stripped(r, "aws-alb", "request") == 2 && stripped(r, "aws-alb", "response") == 1);
    cr_assert(stripped(r, "f5-bigip", "request") == 1 && stripped(r, "f5-bigip", "response") == 0);
    cr_assert(stripped(r, "configured", "request") == 2 && stripped(r, "configured", "response") == 1);
    int64_t all = 0;
    for (unsigned i = 0; i < lt_module_sticky.n_metrics; i++)
        all += rig_metric(r, lt_module_sticky.metrics[i].name, lt_module_sticky.metrics[i].labels);
    cr_assert_eq(all, 7);
    rig_free(r);
}

Test(sticky, one_row_a_product_and_side) {
    for (unsigned i = 0; i < lt_module_sticky.n_metrics; i++)
        for (unsigned j = 0; j < i; j++)
            cr_assert_str_neq(lt_module_sticky.metrics[i].labels, lt_module_sticky.metrics[j].labels);
}

// --- the balancer in front ---

static unsigned lines_with(const char *log, const char *part) {
    unsigned n = 0;
    for (const char *p = log; (p = strstr(p, part)); p++)
        n++;
    return n;
}

Test(sticky, balancer_in_front_is_reported_once) {
    struct rig *r = rig_with(NULL);
    rig_log_begin();
    for (int i = 0; i < 3; i++) {
        expect(r, "AWSALB=secret; AWSALBCORS=secret", NULL, NULL, NULL);
        expect(r, "BIGipServerweb=secret", NULL, NULL, NULL);
        expect(r, NULL, NULL, "GCLB=secret", NULL); // the application's own doing: nothing to turn off in front
    }
    const char *log = rig_log_end();
    cr_assert_eq(lines_with(log, "\n"), 2, "%s", log);
    cr_assert_eq(lines_with(log, "level=warn event=sticky_balancer"), 2, "%s", log);
    cr_assert(strstr(log, "cookie=AWSALB ") && strstr(log, "stickiness.enabled=false"), "%s", log);
    cr_assert(strstr(log, "cookie=BIGipServerweb ") && strstr(log, "no cookie persistence profile"), "%s", log);
    cr_assert_null(strstr(log, "secret"), "no cookie's value in the log");
    rig_free(r);
}

static const char *azure_field(struct rig *r, const char *cookie, const char *response, struct rig_exchange **x) {
    char head[256];
    *x = rig_exchange_new(r);
    snprintf(head, sizeof head, "GET / HTTP/1.1\nHost: a\nCookie: %s\n", cookie);
    cr_assert_eq(rig_request(*x, head), LT_NEXT);
    cr_assert_eq(rig_response(*x, response), LT_NEXT);
    return rig_response_field(*x, "arr-disable-session-affinity");
}

Test(sticky, azure_is_told_to_stop) {
    static const struct {
        const char *cookie, *response, *want;
    } rows[] = {
        {"ARRAffinity=x", "HTTP/1.1 200 OK\n", "True"},
        {"a=1; ARRAffinitySameSite=x", "HTTP/1.1 404 Not Found\n", "True"},
        {"a=1", "HTTP/1.1 200 OK\n", NULL},
        {"AGCAffinity=x", "HTTP/1.1 200 OK\n", NULL},
        {"a=1", "HTTP/1.1 200 OK\nSet-Cookie: ARRAffinity=x\n", NULL},
        {"ARRAffinity=x", "HTTP/1.1 200 OK\narr-disable-session-affinity: true\n", "true"}, // it says so itself
    };
    struct rig *r = rig_with(NULL), *const rig = r;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct rig_exchange *x;
        const char *got = azure_field(rig, rows[i].cookie, rows[i].response, &x);
        cr_assert(rows[i].want ? got && strcmp(got, rows[i].want) == 0 : !got, "%zu: %s", i, got ? got : "(none)");
        rig_exchange_free(x);
    }
    rig_free(r);
}

// --- routes ---

Test(sticky, route_goes_off_and_comes_back) {
    struct rig *r = rig_with(NULL);
    expect_request(r, "JSESSIONID=ABC; a=1", "JSESSIONID=ABC; a=1"); // not learned yet
    expect_response(r, "JSESSIONID=ABC.node1; Path=/; HttpOnly", "JSESSIONID=ABC; Path=/; HttpOnly");
    expect_request(r, "JSESSIONID=ABC; a=1", "JSESSIONID=ABC.node1; a=1");
    expect_request(r, "a=1;JSESSIONID=ABC;JSESSIONID=DEF ; b.c=d",
                   "a=1;JSESSIONID=ABC.node1;JSESSIONID=DEF.node1 ; b.c=d");
    expect_request(r, "JSESSIONID=ABC.node7", "JSESSIONID=ABC.node7"); // with a route of its own it is left alone
    expect_request(r, "JSESSIONID=; a=JSESSIONID", "JSESSIONID=; a=JSESSIONID");
    expect_request(r, "jsessionid=ABC; JSESSIONIDX=ABC", "jsessionid=ABC; JSESSIONIDX=ABC");
    rig_free(r);
}

Test(sticky, all_behind_the_first_dot_is_the_route) {
    struct rig *r = rig_with(NULL);
    expect_response(r, "JSESSIONID=ABC.rack.node1", "JSESSIONID=ABC");
    expect_request(r, "JSESSIONID=ABC", "JSESSIONID=ABC.rack.node1");
    expect_response(r, "JSESSIONID=DEF.; Path=/", "JSESSIONID=DEF; Path=/");
    expect_request(r, "JSESSIONID=ABC", "JSESSIONID=ABC.rack.node1"); // nothing behind the dot says nothing
    expect_response(r, "JSESSIONID=DEF.node2 ; Path=/", "JSESSIONID=DEF ; Path=/");
    expect_request(r, "JSESSIONID=ABC", "JSESSIONID=ABC.node2"); // the last one counts: the application was started anew
    rig_free(r);
}

Test(sticky, answers_without_a_route) {
    struct rig *r = rig_with(NULL);
    expect_response(r, "JSESSIONID=ABC; Path=/a.b", "JSESSIONID=ABC; Path=/a.b");
    expect_response(r, "OTHER=ABC.node1", "OTHER=ABC.node1");
    expect_response(r, "JSESSIONID=ABC.; Path=/", "JSESSIONID=ABC; Path=/");
    expect_response(r, "JSESSIONID", "JSESSIONID");
    expect_request(r, "JSESSIONID=ABC", "JSESSIONID=ABC");
    rig_free(r);
}

Test(sticky, route_of_64_characters_is_learned) {
    char set[128], want[128];
    struct rig *r = rig_with(NULL);
    memset(want, 'n', sizeof want);
    memcpy(want, "JSESSIONID=A.", 13);
    want[13 + 64] = '\0';
    snprintf(set, sizeof set, "%s", want);
    expect_response(r, set, "JSESSIONID=A");
    expect_request(r, "JSESSIONID=A", want);
    strcat(set, "n");
    expect_response(r, set, "JSESSIONID=A");
    expect_request(r, "JSESSIONID=A", want); // a longer one is not
    rig_free(r);
}

Test(sticky, route_that_is_given) {
    struct rig *r = rig_with(RIG_FLAGS("--sticky.routes=SID,S_*", "--sticky.route=blue"));
    expect_request(r, "SID=1; S_2=3; JSESSIONID=4", "SID=1.blue; S_2=3.blue; JSESSIONID=4");
    expect_response(r, "S_2=3.green", "S_2=3");
    expect_request(r, "SID=1", "SID=1.blue");
    rig_free(r);
}

Test(sticky, routes_may_be_left_alone) {
    struct rig *r = rig_with(RIG_FLAGS("--sticky.routes="));
    expect_response(r, "JSESSIONID=ABC.node1", "JSESSIONID=ABC.node1");
    expect_request(r, "JSESSIONID=ABC", "JSESSIONID=ABC");
    rig_free(r);
}

Test(sticky, learned_by_all_workers_of_the_process) {
    struct rig *r = rig_with(NULL);
    expect_response(r, "JSESSIONID=ABC.node1", "JSESSIONID=ABC");
    rig_free(r);
    r = rig_with(NULL);
    expect_request(r, "JSESSIONID=DEF", "JSESSIONID=DEF.node1");
    rig_free(r);
}

// --- trouble ---

Test(sticky, no_memory_fails_the_exchange) {
    struct rig *r = rig_with(RIG_FLAGS("--sticky.route=blue"));
    static const char *const cookies[] = {"a=1; AWSALB=x", "JSESSIONID=ABC"};
    char head[128];
    for (size_t i = 0; i < 2; i++) {
        struct rig_exchange *x = rig_exchange_new(r);
        snprintf(head, sizeof head, "GET / HTTP/1.1\nHost: a\nCookie: %s\n", cookies[i]);
        x->memory = 8;
        cr_assert_eq(rig_request(x, head), LT_FAIL, "%s", cookies[i]);
        cr_assert(x->status == 503 && strcmp(x->reason, "memory") == 0);
        rig_exchange_free(x);
    }
    rig_free(r);
}

static void wrong(const char *flag, const char *part) {
    const char *findings = rig_findings(&(struct rig_setup){.module = &lt_module_sticky, .flags = RIG_FLAGS(flag)});
    cr_assert(strstr(findings, part), "%s: \"%s\"", flag, findings);
}

Test(sticky, options) {
    struct rig *r = rig_with(NULL);
    cr_assert(r->enabled);
    rig_free(r);
    r = rig_with(RIG_FLAGS("--sticky.enabled=false"));
    cr_assert_not(r->enabled);
    rig_free(r);
    wrong("--sticky.cookies=a b", "write a cookie's name");
    wrong("--sticky.cookies=*", "write a cookie's name");
    wrong("--sticky.routes=a=b", "write a cookie's name");
    wrong("--sticky.route=a;b", "write the instance's route");
    wrong("--sticky.route=nnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnn",
          "write the instance's route");
}
