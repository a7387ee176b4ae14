// SPDX-License-Identifier: Apache-2.0
//
//            push()                 ready()
//   CLOSED ─────────▶ CONNECTING ───────────▶ READY
//                      │   ▲                    │
//              failure │   │ alarm   connection │ lost: tries again at once
//                      ▼   │                    ▼
//                     BACKOFF ◀── failure ── CONNECTING
//
// A name that has never had an address is no failure at first: lethe may have started before the server, or the resolver has not answered
// yet. The link stays in CONNECTING, the breaker closed, until an address comes or the oldest call's time is over.
//
// In BACKOFF the circuit breaker is open: calls fail at once. All calls have the same time limit and are answered in order, so the
// oldest one's deadline is the only one to watch; silence past it condemns the whole connection.
#include "net/link.h"

#include "base/clock.h"
#include "base/log.h"

#include <stdlib.h>

enum { WAITING_MAX = 1 << 16, BACKOFF_MIN_MS = 50, BACKOFF_MAX_MS = 2000, RESOLVE_MS = 20 };

static struct lt_link_call *call_of(struct lt_list *node) {
    return LT_ENTRY(node, struct lt_link_call, node);
}

static void set_state(struct lt_link *l, enum lt_link_state next) {
    if (next == LT_LINK_BACKOFF && l->failures == 1)
        LT_LOG(LT_LOG_WARN, "store_away", lt_fs("store", l->ops->name), lt_fs("address", l->where));
    if (next == LT_LINK_READY && l->failures)
        LT_LOG(LT_LOG_INFO, "store_back", lt_fs("store", l->ops->name), lt_fs("address", l->where),
               lt_fn("failures", l->failures));
    bool changed = (next == LT_LINK_BACKOFF && l->failures == 1) || (next == LT_LINK_READY && l->failures);
    if (next == LT_LINK_READY)
        l->failures = 0;
    l->state = next;
    if (changed && l->on_breaker)
        l->on_breaker(l->user, next == LT_LINK_BACKOFF);
}

void lt_link_watch(struct lt_link *l) {
    if (l->state == LT_LINK_BACKOFF)
        return;
    if (l->n)
        lt_timer_set(l->loop, &l->timer, call_of(l->waiting.next)->deadline - lt_clock_mono());
    else if (l->state != LT_LINK_CONNECTING)
        lt_timer_clear(l->loop, &l->timer);
}

struct lt_link_call *lt_link_take(struct lt_link *l) {
    if (lt_list_empty(&l->waiting))
        return NULL;
    struct lt_link_call *c = call_of(l->waiting.next);
    lt_list_remove(&c->node);
    l->n--;
    return c;
}

void lt_link_replace(struct lt_link *l, struct lt_link_call *c, struct lt_link_call *other) {
    if (other) {
        other->deadline = c->deadline;
        other->refused = c->refused;
        lt_list_insert(&c->node, &other->node);
    } else if (c->refused == LT_OK) {
        l->n--;
    }
    lt_list_remove(&c->node);
}

static void move_all(struct lt_list *from, struct lt_list *to) {
    lt_list_init(to);
    while (!lt_list_empty(from)) {
        struct lt_list *node = from->next;
        lt_list_remove(node);
        lt_list_append(to, node);
    }
}

// They leave the line first: who sends again from `fail` stands in a new one.
static void fail_all(struct lt_link *l, enum lt_err e) {
    struct lt_list batch;
    move_all(&l->waiting, &batch);
    l->n = 0;
    while (!lt_list_empty(&batch)) {
        struct lt_link_call *c = call_of(batch.next);
        lt_list_remove(&c->node);
        l->ops->fail(c, e);
    }
}

static void back_off(struct lt_link *l) {
    unsigned shift = l->failures < 6 ? l->failures : 6;
    int64_t wait = (int64_t)BACKOFF_MIN_MS << shift;
    if (wait > BACKOFF_MAX_MS)
        wait = BACKOFF_MAX_MS;
    l->failures++;
    set_state(l, LT_LINK_BACKOFF);
    lt_timer_set(l->loop, &l->timer, wait / 2 + rand_r(&l->seed) % (wait / 2 + 1));
}

void lt_link_failed(struct lt_link *l, enum lt_err e) {
    lt_timer_clear(l->loop, &l->again);
    l->ops->disconnect(l);
    back_off(l);
    fail_all(l, e);
}

static void try_connect(struct lt_link *l) {
    enum lt_err e = l->ops->connect(l);
    if (e == LT_ERR_RESOLVE && l->failures == 0)
        lt_timer_set(l->loop, &l->again, RESOLVE_MS);
    else if (e != LT_OK)
        lt_link_failed(l, e);
}

static void on_again(struct lt_timer *t) {
    try_connect(LT_ENTRY(t, struct lt_link, again));
}

static void begin_connect(struct lt_link *l) {
    set_state(l, LT_LINK_CONNECTING);
    if (l->n == 0)
        lt_timer_set(l->loop, &l->timer, l->timeout);
    else
        lt_link_watch(l);
    try_connect(l);
}

void lt_link_lost(struct lt_link *l, enum lt_err e) {
    if (l->state != LT_LINK_READY) {
        lt_link_failed(l, e);
        return;
    }
    l->ops->disconnect(l);
    lt_timer_clear(l->loop, &l->timer);
    set_state(l, LT_LINK_CLOSED);
    fail_all(l, e);
    begin_connect(l);
}

void lt_link_ready(struct lt_link *l) {
    set_state(l, LT_LINK_READY);
    lt_link_watch(l);
    lt_loop_defer(l->loop, &l->flush);
}

static void on_timer(struct lt_timer *t) {
    struct lt_link *l = LT_ENTRY(t, struct lt_link, timer);
    if (l->state == LT_LINK_BACKOFF)
        begin_connect(l);
    else if (l->n && call_of(l->waiting.next)->deadline > lt_clock_mono())
        lt_link_watch(l);
    else
        lt_link_failed(l, lt_timer_is_set(&l->again) ? LT_ERR_RESOLVE : LT_ERR_TIMEOUT);
}

static void on_flush(struct lt_task *t) {
    struct lt_link *l = LT_ENTRY(t, struct lt_link, flush);
    if (l->state == LT_LINK_CLOSED && l->n)
        begin_connect(l);
    else if (l->state == LT_LINK_READY)
        l->ops->flush(l);
}

static void on_refuse(struct lt_task *t) {
    struct lt_link *l = LT_ENTRY(t, struct lt_link, refuse);
    struct lt_list batch;
    move_all(&l->refused, &batch);
    while (!lt_list_empty(&batch)) {
        struct lt_link_call *c = call_of(batch.next);
        lt_list_remove(&c->node);
        l->ops->fail(c, c->refused);
    }
}

void lt_link_refuse(struct lt_link *l, struct lt_link_call *c, enum lt_err e) {
    c->refused = e;
    lt_list_append(&l->refused, &c->node);
    lt_loop_defer(l->loop, &l->refuse);
}

bool lt_link_push(struct lt_link *l, struct lt_link_call *c) {
    if (l->state == LT_LINK_BACKOFF || l->n >= WAITING_MAX) {
        lt_link_refuse(l, c, l->state == LT_LINK_BACKOFF ? LT_ERR_REFUSED : LT_ERR_LIMIT);
        return false;
    }
    c->deadline = lt_clock_mono() + l->timeout;
    c->refused = LT_OK;
    lt_list_append(&l->waiting, &c->node);
    if (l->n++ == 0)
        lt_link_watch(l);
    lt_loop_defer(l->loop, &l->flush);
    return true;
}

void lt_link_init(struct lt_link *l, const struct lt_link_ops *ops, struct lt_loop *loop, int64_t timeout,
                  const char *where) {
    *l = (struct lt_link){.ops = ops, .loop = loop, .timeout = timeout, .where = where};
    l->seed = (unsigned)lt_clock_wall() ^ (unsigned)(uintptr_t)l;
    lt_list_init(&l->waiting);
    lt_list_init(&l->refused);
    lt_timer_init(&l->timer, on_timer);
    lt_timer_init(&l->again, on_again);
    lt_task_init(&l->flush, on_flush);
    lt_task_init(&l->refuse, on_refuse);
}

void lt_link_fini(struct lt_link *l) {
    l->ops->disconnect(l);
    lt_timer_clear(l->loop, &l->timer);
    lt_timer_clear(l->loop, &l->again);
    l->state = LT_LINK_BACKOFF; // what a callback sends now is refused
    fail_all(l, LT_ERR_CANCELED);
    while (!lt_list_empty(&l->refused))
        on_refuse(&l->refuse);
    lt_task_cancel(&l->flush);
    lt_task_cancel(&l->refuse);
}
