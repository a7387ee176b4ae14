// SPDX-License-Identifier: Apache-2.0
#include "store/effort.h"

#include "base/clock.h"

enum { AGAIN_MS = 30, LOST_MAX = 2 };

static void begin(struct lt_store_effort *e) {
    e->rests = false;
    lt_timer_set(e->op->store->loop, &e->timer, e->ends - lt_clock_mono());
    e->ops->begin(e);
}

static void on_timer(struct lt_timer *t) {
    struct lt_store_effort *e = LT_ENTRY(t, struct lt_store_effort, timer);
    if (e->rests)
        begin(e);
    else if (e->ops->cancel(e))
        lt_store_effort_end(e, LT_STORE_DOWN);
}

// A lock that is not given back stops its session: that is tried for as long as the lease would last.
void lt_store_effort_begin(struct lt_store_effort *e, struct lt_store_op *op, const struct lt_store_effort_ops *ops) {
    int64_t patience = op->store->timeout;
    if (op->kind == LT_STORE_RELEASE && op->lease > patience)
        patience = op->lease;
    e->ops = ops;
    e->op = op;
    e->ends = lt_clock_mono() + patience;
    lt_timer_init(&e->timer, on_timer);
    begin(e);
}

bool lt_store_effort_has_time(const struct lt_store_effort *e) {
    return lt_clock_mono() < e->ends;
}

// What was not sent, or whose answer was lost. A look-up may fail at once, a write not; repeating does no harm.
static bool is_worth_another_try(const struct lt_store_effort *e, enum lt_err why) {
    bool unheard = why == LT_ERR_REFUSED || why == LT_ERR_CLOSED || why == LT_ERR_RESET || why == LT_ERR_IO ||
                   why == LT_ERR_RESOLVE;
    bool writes = e->op->kind != LT_STORE_LOAD && e->op->kind != LT_STORE_RENEW;
    return writes && unheard && lt_clock_mono() + AGAIN_MS < e->ends;
}

void lt_store_effort_failed(struct lt_store_effort *e, enum lt_err why) {
    bool lost = why == LT_ERR_CLOSED || why == LT_ERR_RESET;
    if (lost && e->lost++ < LOST_MAX && lt_store_effort_has_time(e)) {
        begin(e);
    } else if (is_worth_another_try(e, why)) {
        e->rests = true;
        lt_timer_clear(e->op->store->loop, &e->timer);
        lt_timer_set(e->op->store->loop, &e->timer, AGAIN_MS);
    } else {
        lt_store_effort_end(e, LT_STORE_DOWN);
    }
}

void lt_store_effort_end(struct lt_store_effort *e, enum lt_store_result result) {
    lt_timer_clear(e->op->store->loop, &e->timer);
    e->op->result = result;
    lt_store_finish(e->op);
}

void lt_store_effort_on_breaker(void *store, bool opened) {
    lt_store_breaker(store, opened);
}
