// SPDX-License-Identifier: Apache-2.0
// The rig does what pipeline.c does, and notices a module that breaks the contract.
#include "rig.h"

#include "base/clock.h"
#include "leaks.h"

#include <criterion/criterion.h>
#include <signal.h>
#include <stdio.h>

TestSuite(rig, .fini = lt_rig_leaks);

// --- a module that does what a test tells it ---

enum what { GO_ON, SLEEP, WAIT, REPLY, FAIL, MUST, LIE_WAIT, LIE_NEXT, LIE_REPLY, LIE_FAIL, RESUME_INSIDE, EAT };

static enum what plan[3]; // on_request, on_response, on_end
static char story[256];
static struct lt_call *waits;

struct toy_conf {
    struct lt_span word;
    int64_t number;
};

struct toy_call {
    char zero[64];
};

static void tell(const char *what) {
    strcat(strcat(story, *story ? " " : ""), what);
}

static enum lt_verdict then(struct lt_call *c) {
    (void)c;
    tell("then");
    return LT_NEXT;
}

static void on_cancel(struct lt_call *c) {
    (void)c;
    tell("cancel");
}

static enum lt_verdict act(struct lt_call *c, enum what what) {
    switch (what) {
    case SLEEP:
        return lt_call_sleep(c, 250, then);
    case WAIT:
        waits = c;
        return lt_call_wait(c, then, on_cancel);
    case REPLY:
        return lt_call_reply(c, 418, "text/plain", LT_S("tea\n"));
    case FAIL:
        return lt_call_fail(c, 503, "why");
    case MUST:
        lt_call_must_finish(c, true);
        return LT_NEXT;
    case LIE_WAIT:
        return LT_WAIT;
    case LIE_NEXT:
        return lt_call_wait(c, then, NULL) == LT_WAIT ? LT_NEXT : LT_FAIL;
    case LIE_REPLY:
        return LT_REPLY;
    case LIE_FAIL:
        return LT_FAIL;
    case RESUME_INSIDE:
        c->then = then;
        lt_call_resume(c);
        return LT_NEXT;
    case EAT:
        return lt_arena_alloc(lt_call_arena(c), 100) ? LT_NEXT : lt_call_fail(c, 503, "memory");
    default:
        return LT_NEXT;
    }
}

static enum lt_verdict on_request(struct lt_call *c) {
    const struct toy_call *st = c->state;
    for (size_t i = 0; i < sizeof st->zero; i++)
        cr_assert_eq(st->zero[i], 0);
    tell("request");
    return act(c, plan[0]);
}

static enum lt_verdict on_response(struct lt_call *c) {
    cr_assert_eq(lt_call_response(c)->status, 200);
    tell("response");
    return act(c, plan[1]);
}

static enum lt_verdict on_end(struct lt_call *c) {
    tell(lt_call_response(c) ? "end" : "end-without-answer");
    return act(c, plan[2]);
}

static void on_done(struct lt_call *c) {
    (void)c;
    tell("done");
}

static bool enabled(const void *conf) {
    return ((const struct toy_conf *)conf)->number > 0;
}

static bool worker_init(void *worker, const void *conf, const struct lt_services *s) {
    (void)worker;
    tell("init");
    cr_assert(lt_span_eq(s->upstream, LT_S("127.0.0.1:7")));
    return !lt_span_eq(((const struct toy_conf *)conf)->word, LT_S("no"));
}

static void worker_fini(void *worker) {
    (void)worker;
    tell("fini");
}

static void check(const struct lt_config *config, struct lt_diag *diag) {
    const struct toy_conf *conf = lt_config_group(config, "toy");
    if (lt_span_eq(conf->word, lt_config_text(config, "store")))
        lt_diag_add(diag, "toy.word: the same as store");
}

static const struct lt_option options[] = {
    {.name = "word", .type = LT_OPT_STRING, .offset = offsetof(struct toy_conf, word), .fallback = "yes"},
    {.name = "number", .type = LT_OPT_INT, .offset = offsetof(struct toy_conf, number), .fallback = "1", .max = 9},
};

static const struct lt_metric metrics[] = {{"toys_total", "Toys.", LT_COUNTER, NULL}};

static const struct lt_module toy = {
    .name = "toy",
    .options = {"toy", options, 2, sizeof(struct toy_conf), NULL},
    .metrics = metrics,
    .n_metrics = 1,
    .state_size = sizeof(struct toy_call),
    .check = check,
    .enabled = enabled,
    .worker_init = worker_init,
    .worker_fini = worker_fini,
    .on_request = on_request,
    .on_response = on_response,
    .on_end = on_end,
    .on_done = on_done,
};

#define UPSTREAM "--upstream=127.0.0.1:7"
static const char request[] = "GET / HTTP/1.1\nHost: a\n", response[] = "HTTP/1.1 200 OK\n";

static struct rig *begin(enum what a, enum what b, enum what c, struct rig_exchange **x) {
    struct rig *r = rig_new(&(struct rig_setup){.module = &toy, .flags = RIG_FLAGS(UPSTREAM)});
    cr_assert_not_null(r);
    plan[0] = a;
    plan[1] = b;
    plan[2] = c;
    *story = '\0';
    *x = rig_exchange_new(r);
    return r;
}

static void finish(struct rig *r, struct rig_exchange *x, const char *want) {
    rig_exchange_free(x);
    cr_assert_str_eq(story, want, "%s", story);
    rig_free(r);
}

// --- the way through ---

Test(rig, hooks_in_order) {
    struct rig_exchange *x;
    struct rig *r = begin(GO_ON, GO_ON, GO_ON, &x);
    cr_assert_eq(rig_request(x, request), LT_NEXT);
    cr_assert_eq(rig_response(x, response), LT_NEXT);
    cr_assert_eq(rig_end(x), LT_NEXT);
    cr_assert(rig_close(x) && rig_close(x));
    finish(r, x, "request response end done");
}

Test(rig, nothing_ran_nothing_is_done) {
    struct rig_exchange *x;
    struct rig *r = begin(GO_ON, GO_ON, GO_ON, &x);
    finish(r, x, "");
}

Test(rig, sleep_by_the_clock) {
    struct rig_exchange *x;
    struct rig *r = begin(SLEEP, GO_ON, GO_ON, &x);
    int64_t wall = lt_clock_wall();
    cr_assert_eq(rig_request(x, request), LT_WAIT);
    rig_advance(r, 249);
    cr_assert_eq(x->verdict, LT_WAIT);
    rig_advance(r, 11);
    cr_assert_eq(x->verdict, LT_NEXT);
    cr_assert_eq(lt_clock_wall() - wall, 260);
    finish(r, x, "request then done");
}

Test(rig, wait_and_resume) {
    struct rig_exchange *x;
    struct rig *r = begin(WAIT, GO_ON, GO_ON, &x);
    cr_assert_eq(rig_request(x, request), LT_WAIT);
    lt_call_resume(waits);
    cr_assert_eq(x->verdict, LT_NEXT);
    finish(r, x, "request then done");
}

Test(rig, what_waits_is_cancelled) {
    struct rig_exchange *x;
    struct rig *r = begin(WAIT, GO_ON, GO_ON, &x);
    rig_request(x, request);
    finish(r, x, "request cancel done");
    r = begin(SLEEP, GO_ON, GO_ON, &x);
    rig_request(x, request);
    finish(r, x, "request done"); // and no timer is left
}

Test(rig, must_finish) {
    struct rig_exchange *x;
    struct rig *r = begin(MUST, WAIT, GO_ON, &x);
    rig_request(x, request);
    rig_response(x, response);
    finish(r, x, "request response cancel end done");
    r = begin(MUST, GO_ON, GO_ON, &x);
    rig_request(x, request);
    finish(r, x, "request end-without-answer done");
    r = begin(MUST, FAIL, GO_ON, &x);
    rig_request(x, request);
    cr_assert(rig_response(x, response) == LT_FAIL && x->status == 503);
    cr_assert_str_eq(x->reason, "why");
    finish(r, x, "request response end done");
}

Test(rig, end_is_never_broken_off) {
    struct rig_exchange *x;
    struct rig *r = begin(MUST, GO_ON, WAIT, &x);
    rig_request(x, request);
    rig_response(x, response);
    cr_assert_not(rig_close(x), "on_end waits");
    cr_assert_str_eq(story, "request response end");
    lt_call_resume(waits);
    cr_assert_str_eq(story, "request response end then done");
    finish(r, x, "request response end then done");
    r = begin(GO_ON, GO_ON, SLEEP, &x);
    rig_request(x, request);
    rig_response(x, response);
    rig_end(x);
    cr_assert_not(rig_close(x));
    rig_advance(r, 260);
    finish(r, x, "request response end then done");
}

Test(rig, reply) {
    struct rig_exchange *x;
    struct rig *r = begin(REPLY, GO_ON, GO_ON, &x);
    cr_assert_eq(rig_request(x, request), LT_REPLY);
    cr_assert(x->status == 418 && x->body_size == 4);
    cr_assert_str_eq(x->body, "tea\n");
    cr_assert_str_eq(x->type, "text/plain");
    finish(r, x, "request done");
}

Test(rig, memory) {
    struct rig_exchange *x;
    struct rig *r = begin(EAT, EAT, GO_ON, &x);
    x->memory = 200;
    cr_assert_eq(rig_request(x, request), LT_NEXT);
    x->memory = 99;
    cr_assert_eq(rig_response(x, response), LT_FAIL);
    finish(r, x, "request response done");
}

Test(rig, heads) {
    struct rig_exchange *x;
    struct rig *r = begin(GO_ON, GO_ON, GO_ON, &x);
    rig_request(x, "GET /a HTTP/1.1\nHost: h\nA: 1\nb: 2\na:  3\n\n");
    rig_response(x, "HTTP/1.1 200 Fine");
    x->request.headers.v[2].dropped = true;
    cr_assert_str_eq(rig_request_text(x), "GET /a HTTP/1.1\nHost: h\nA: 1\na:  3\n\n");
    cr_assert_str_eq(rig_response_text(x), "HTTP/1.1 200 Fine\n\n");
    cr_assert_str_eq(rig_request_field(x, "A"), "1\n3");
    cr_assert_null(rig_request_field(x, "b"));
    cr_assert_null(rig_response_field(x, "a"));
    finish(r, x, "request response done");
}

Test(rig, timers_fire_each_at_its_time) {
    struct rig_exchange *x, *y;
    struct rig *r = begin(SLEEP, GO_ON, GO_ON, &x);
    rig_request(x, request);
    rig_advance(r, 100);
    y = rig_exchange_new(r);
    rig_request(y, request);
    rig_advance(r, 7200000); // far more than the wheel's one round
    cr_assert(x->verdict == LT_NEXT && y->verdict == LT_NEXT);
    rig_exchange_free(y);
    finish(r, x, "request request then then done done");
}

Test(rig, worker) {
    *story = '\0';
    cr_assert_null(rig_new(&(struct rig_setup){.module = &toy, .flags = RIG_FLAGS(UPSTREAM, "--toy.word=no")}));
    cr_assert_str_eq(story, "init", "what was not initialised is not torn down");
    struct rig *r = rig_new(
        &(struct rig_setup){.module = &toy, .flags = RIG_FLAGS(UPSTREAM, "--toy.number", "0"), .exclusive = true});
    cr_assert(r && !r->enabled && r->services.exclusive && r->services.role == LT_ROLE_PROXY);
    cr_assert_eq(rig_metric(r, "toys_total", NULL), 0);
    lt_services_hold(&r->services);
    lt_services_drop(&r->services);
    rig_free(r);
    cr_assert_str_eq(story, "init init fini");
}

Test(rig, findings) {
    cr_assert_str_empty(rig_findings(&(struct rig_setup){.module = &toy}));
    const struct rig_setup two = {.module = &toy, .flags = RIG_FLAGS("--toy.number=12", "--toy.ward=x")};
    const char *text = rig_findings(&two);
    cr_assert(strstr(text, "toy.number") && strstr(text, "toy.ward") && strchr(text, '\n'), "%s", text);
    const struct rig_setup same = {.module = &toy, .flags = RIG_FLAGS("--store=a", "--toy.word=a")};
    cr_assert_str_eq(rig_findings(&same), "toy.word: the same as store");
}

Test(rig, log) {
    rig_log_begin();
    LT_LOG(LT_LOG_WARN, "one", lt_fn("n", 1));
    cr_assert(strstr(rig_log_end(), "event=one n=1\n"));
    rig_log_begin();
    cr_assert_str_empty(rig_log_end());
}

// --- what it aborts for ---

static void run_request(enum what what) {
    struct rig_exchange *x;
    begin(what, GO_ON, GO_ON, &x);
    rig_request(x, request);
}

#define ABORTS(name) Test(rig_aborts, name, .signal = SIGABRT)

ABORTS(wait_that_nobody_began) {
    run_request(LIE_WAIT);
}

ABORTS(wait_that_is_not_said) {
    run_request(LIE_NEXT);
}

ABORTS(reply_that_was_not_made) {
    run_request(LIE_REPLY);
}

ABORTS(fail_that_was_not_made) {
    run_request(LIE_FAIL);
}

ABORTS(resume_from_inside) {
    run_request(RESUME_INSIDE);
}

ABORTS(resume_of_one_that_does_not_wait) {
    struct rig_exchange *x;
    begin(WAIT, GO_ON, GO_ON, &x);
    rig_request(x, request);
    lt_call_resume(waits);
    lt_call_resume(waits);
}

ABORTS(reply_in_on_response) {
    struct rig_exchange *x;
    begin(GO_ON, REPLY, GO_ON, &x);
    rig_request(x, request);
    rig_response(x, response);
}

ABORTS(response_before_the_request) {
    struct rig_exchange *x;
    begin(GO_ON, GO_ON, GO_ON, &x);
    rig_response(x, response);
}

ABORTS(end_that_the_proxy_would_not_run) {
    struct rig_exchange *x;
    begin(GO_ON, GO_ON, GO_ON, &x);
    rig_request(x, request);
    rig_end(x);
}

ABORTS(head_that_is_none) {
    struct rig_exchange *x;
    begin(GO_ON, GO_ON, GO_ON, &x);
    rig_request(x, "GET / HTTP/1.1\nA : 1\n");
}

ABORTS(free_while_the_end_waits) {
    struct rig_exchange *x;
    begin(MUST, GO_ON, WAIT, &x);
    rig_request(x, request);
    rig_exchange_free(x);
}

ABORTS(services_still_held) {
    struct rig_exchange *x;
    struct rig *r = begin(GO_ON, GO_ON, GO_ON, &x);
    rig_exchange_free(x);
    lt_services_hold(&r->services);
    rig_free(r);
}

ABORTS(drop_without_hold) {
    struct rig_exchange *x;
    struct rig *r = begin(GO_ON, GO_ON, GO_ON, &x);
    lt_services_drop(&r->services);
}

ABORTS(exchange_left_over) {
    struct rig_exchange *x;
    rig_free(begin(GO_ON, GO_ON, GO_ON, &x));
}

ABORTS(no_such_metric) {
    struct rig_exchange *x;
    rig_metric(begin(GO_ON, GO_ON, GO_ON, &x), "toys", NULL);
}
