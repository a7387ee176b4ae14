// SPDX-License-Identifier: Apache-2.0
// Commands wait in a ring for their answers, which come in the same order.
#include "net/redis_client.h"

#include "base/clock.h"

#include <stdlib.h>

enum { WAITING_MAX = 1 << 16, COUNT_MAX = LT_NUMBER_TEXT + 3 };

static char *put(char *to, struct lt_span s) {
    if (s.n)
        memcpy(to, s.p, s.n);
    return to + s.n;
}

// "*3" or "$17", with its line end.
static char *put_count(char *to, char kind, size_t n) {
    char digits[LT_NUMBER_TEXT];
    *to++ = kind;
    to = put(to, lt_span_number(digits, n));
    return put(to, LT_S("\r\n"));
}

bool lt_redis_format(struct lt_buf *out, const struct lt_span *args, unsigned n) {
    size_t size = COUNT_MAX;
    for (unsigned i = 0; i < n; i++)
        size += args[i].n + COUNT_MAX + 2;
    char *start = lt_buf_reserve(out, size), *to = start;
    if (!start)
        return false;
    to = put_count(to, '*', n);
    for (unsigned i = 0; i < n; i++) {
        to = put_count(to, '$', args[i].n);
        to = put(to, args[i]);
        to = put(to, LT_S("\r\n"));
    }
    lt_buf_grew(out, (size_t)(to - start));
    return true;
}

struct lt_redis_waiting *lt_redis_oldest(struct lt_redis *r) {
    return &r->ring[r->head & (r->cap - 1)];
}

struct lt_redis_call *lt_redis_take(struct lt_redis *r) {
    struct lt_redis_call *call = lt_redis_oldest(r)->call;
    r->head++;
    r->n--;
    if (call)
        call->busy = false;
    return call;
}

void lt_redis_fail_all(struct lt_redis *r, enum lt_err e) {
    for (unsigned n = r->n; n && r->n; n--) {
        struct lt_redis_call *call = lt_redis_take(r);
        if (call)
            call->done(call, e, NULL);
    }
}

void lt_redis_on_refuse(struct lt_task *t) {
    struct lt_redis *r = LT_ENTRY(t, struct lt_redis, refuse);
    struct lt_list batch;
    lt_list_init(&batch);
    while (!lt_list_empty(&r->refused)) {
        struct lt_list *node = r->refused.next;
        lt_list_remove(node);
        lt_list_append(&batch, node);
    }
    while (!lt_list_empty(&batch)) {
        struct lt_redis_call *call = LT_ENTRY(batch.next, struct lt_redis_call, node);
        lt_list_remove(&call->node);
        call->busy = false;
        call->done(call, call->refused, NULL);
    }
}

static void refuse(struct lt_redis *r, struct lt_redis_call *call, enum lt_err e) {
    call->refused = e;
    lt_list_append(&r->refused, &call->node);
    lt_loop_defer(r->loop, &r->refuse);
}

// Room for two more: a command and the ASKING before it.
static bool reserve(struct lt_redis *r) {
    if (r->n + 2 <= r->cap)
        return true;
    unsigned cap = r->cap ? r->cap * 2 : 64;
    struct lt_redis_waiting *ring = cap <= WAITING_MAX ? malloc(cap * sizeof *ring) : NULL;
    if (!ring)
        return false;
    for (unsigned i = 0; i < r->n; i++)
        ring[i] = r->ring[(r->head + i) & (r->cap - 1)];
    free(r->ring);
    r->ring = ring;
    r->cap = cap;
    r->head = 0;
    return true;
}

static void push(struct lt_redis *r, struct lt_redis_call *call) {
    r->ring[(r->head + r->n++) & (r->cap - 1)] =
        (struct lt_redis_waiting){.call = call, .deadline = lt_clock_mono() + r->options.timeout};
}

static bool ask(struct lt_redis *r) {
    if (!lt_redis_format(&r->queued, &LT_S("ASKING"), 1))
        return false;
    push(r, NULL);
    return true;
}

void lt_redis_send(struct lt_redis *r, struct lt_redis_call *call, const struct lt_span *args, unsigned n) {
    call->client = r;
    call->busy = true;
    lt_list_init(&call->node);
    if (r->failures || r->state == LT_REDIS_BACKOFF) {
        refuse(r, call, LT_ERR_REFUSED);
        return;
    }
    if (!reserve(r) || (call->asking && !ask(r)) || !lt_redis_format(&r->queued, args, n)) {
        refuse(r, call, LT_ERR_LIMIT);
        return;
    }
    push(r, call);
    if (r->n == 1u + call->asking)
        lt_redis_watch(r);
    lt_loop_defer(r->loop, &r->flush);
}

void lt_redis_cancel(struct lt_redis_call *call) {
    if (!call->busy)
        return;
    struct lt_redis *r = call->client;
    call->busy = false;
    lt_list_remove(&call->node);
    for (unsigned i = 0; i < r->n; i++) {
        struct lt_redis_waiting *w = &r->ring[(r->head + i) & (r->cap - 1)];
        if (w->call == call)
            w->call = NULL;
    }
}
