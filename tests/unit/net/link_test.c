// SPDX-License-Identifier: Apache-2.0
// A link whose server has no address at first.
#include "net/link.h"

#include "base/clock.h"
#include "base/log.h"
#include "tests/rig/leaks.h"
#include "tests/rig/turns.h"

#include <criterion/criterion.h>

enum { TIMEOUT = 60 };

static struct lt_loop loop;
static struct lt_link link_;
static struct {
    enum lt_err connect; // what it says
    unsigned tries, connected, opened, closed;
} seen;

struct asked {
    struct lt_link_call call;
    bool done;
    enum lt_err e;
};

static enum lt_err connect_(struct lt_link *l) {
    (void)l;
    seen.tries++;
    seen.connected += seen.connect == LT_OK;
    return seen.connect;
}

static void disconnect(struct lt_link *l) {
    (void)l;
}

static void flush(struct lt_link *l) {
    for (struct lt_link_call *c = lt_link_take(l); c; c = lt_link_take(l))
        LT_ENTRY(c, struct asked, call)->done = true;
}

static void fail(struct lt_link_call *c, enum lt_err e) {
    struct asked *a = LT_ENTRY(c, struct asked, call);
    cr_assert_not(a->done);
    a->done = true;
    a->e = e;
}

static void on_breaker(void *user, bool opened) {
    (void)user;
    seen.opened += opened;
    seen.closed += !opened;
}

static const struct lt_link_ops ops = {"test", connect_, disconnect, flush, fail};

static void init(void) {
    lt_log_setup(LT_LOG_ERROR, LT_LOG_TEXT);
    cr_assert_eq(lt_loop_init(&loop), LT_OK);
}

static void fini(void) {
    lt_link_fini(&link_);
    lt_loop_fini(&loop);
    lt_rig_leaks();
}

TestSuite(link, .init = init, .fini = fini);

static void begin(int64_t timeout, enum lt_err connect) {
    seen.connect = connect;
    lt_link_init(&link_, &ops, &loop, timeout, "name.test:1");
    link_.on_breaker = on_breaker;
}

static void ask(struct asked *a) {
    *a = (struct asked){.e = LT_OK};
    lt_list_init(&a->call.node);
    lt_link_push(&link_, &a->call);
}

#define UNTIL(condition) TURNS_UNTIL(&loop, condition)

Test(link, calls_wait_for_the_first_address) {
    struct asked a, b;
    begin(60000, LT_ERR_RESOLVE);
    ask(&a);
    UNTIL(seen.tries > 2);
    ask(&b);
    cr_expect(!a.done && !b.done && !lt_link_is_open(&link_));
    seen.connect = LT_OK;
    UNTIL(seen.connected == 1);
    lt_link_ready(&link_);
    UNTIL(a.done && b.done);
    cr_expect(a.e == LT_OK && b.e == LT_OK && seen.opened == 0 && seen.connected == 1);
}

Test(link, no_address_in_time_is_away) {
    struct asked a, b;
    begin(TIMEOUT, LT_ERR_RESOLVE);
    int64_t began = lt_clock_mono();
    ask(&a);
    UNTIL(a.done);
    cr_expect(a.e == LT_ERR_RESOLVE && seen.opened == 1 && lt_link_is_open(&link_));
    cr_expect_geq(lt_clock_mono() - began, TIMEOUT);
    unsigned tries = seen.tries;
    UNTIL(seen.tries > tries); // a probe
    ask(&b);
    UNTIL(b.done);
    cr_expect(b.e == LT_ERR_REFUSED);
    seen.connect = LT_OK;
    UNTIL(seen.connected == 1);
    lt_link_ready(&link_);
    cr_expect(seen.opened == 1 && seen.closed == 1);
}

Test(link, another_error_is_away_at_once) {
    struct asked a;
    begin(60000, LT_ERR_REFUSED);
    ask(&a);
    UNTIL(a.done);
    cr_expect(a.e == LT_ERR_REFUSED && seen.opened == 1);
}

Test(link, ends_while_there_is_no_address) {
    struct asked a;
    begin(60000, LT_ERR_RESOLVE);
    ask(&a);
    UNTIL(seen.tries > 1);
    lt_link_fini(&link_);
    cr_expect(a.done && a.e == LT_ERR_CANCELED);
}
