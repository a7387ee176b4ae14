// SPDX-License-Identifier: Apache-2.0
// A request's body for a module that answers itself: read whole, up to the module's maximum, instead of being sent upstream.
#include "exchange.h"

struct lt_collect {
    struct lt_call *call;
    struct lt_buf *into;
    struct lt_task whole;
};

static void on_whole(struct lt_task *t) {
    struct lt_call *c = LT_ENTRY(t, struct lt_collect, whole)->call;
    c->x->collect = NULL;
    lt_call_resume(c);
}

static void stop(struct lt_exchange *x) {
    lt_stream_want_read(&x->client->stream, false);
}

static void on_cancel(struct lt_call *c) {
    lt_task_cancel(&c->x->collect->whole);
    c->x->collect = NULL;
}

// LT_BODY_BAD without a reason: over the maximum.
static enum lt_body_status take(struct lt_exchange *x) {
    struct lt_inbox *in = &x->client->in;
    struct lt_span input = lt_inbox_span(in), data;
    size_t before = input.n;
    enum lt_body_status status;
    while ((status = lt_body_read(&x->request_body, &input, &data)) == LT_BODY_DATA)
        if (!lt_buf_append(x->collect->into, data))
            return LT_BODY_BAD;
    lt_inbox_consume(in, before - input.n);
    return status;
}

void lt_collect_pump(struct lt_exchange *x) {
    switch (take(x)) {
    case LT_BODY_END:
        stop(x);
        lt_loop_defer(&x->worker->loop, &x->collect->whole);
        break;
    case LT_BODY_BAD: {
        bool large = x->request_body.reason == LT_H1_OK;
        stop(x);
        x->outcome = LT_OUTCOME_REJECTED;
        lt_pipeline_cancel(x);
        lt_reply(x, large ? 413 : 400, large ? "body_too_large" : lt_h1_reason_name(x->request_body.reason), NULL,
                 lt_span(NULL, 0), true);
        break;
    }
    default:
        if (x->client->ended)
            lt_exchange_client_gone(x);
        else
            lt_stream_want_read(&x->client->stream, true);
    }
}

// RFC 9110 section 10.1.1: who asks whether to send its body is told to.
static bool invite(struct lt_exchange *x) {
    struct lt_span go = LT_S("HTTP/1.1 100 Continue\r\n\r\n");
    return !lt_headers_get(&x->request.headers, LT_HDR_EXPECT) || x->request.minor == 0 ||
           lt_stream_write(&x->client->stream, &go, 1) == LT_OK;
}

static void on_begin(struct lt_task *t) {
    struct lt_collect *collect = LT_ENTRY(t, struct lt_collect, whole);
    struct lt_exchange *x = collect->call->x;
    lt_task_init(&collect->whole, on_whole);
    if (invite(x))
        lt_collect_pump(x);
    else
        lt_exchange_client_gone(x);
}

enum lt_verdict lt_call_read_body(struct lt_call *c, struct lt_buf *into, lt_hook_fn *then) {
    struct lt_collect *collect = lt_arena_zalloc(&c->x->arena, sizeof *collect);
    if (!collect)
        return lt_call_fail(c, 503, "memory");
    *collect = (struct lt_collect){.call = c, .into = into};
    c->x->collect = collect;
    lt_task_init(&collect->whole, on_begin);
    lt_loop_defer(&c->x->worker->loop, &collect->whole); // nothing completes from inside the call that began it
    return lt_call_wait(c, then, on_cancel);
}
