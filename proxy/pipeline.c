// SPDX-License-Identifier: Apache-2.0
// Runs the modules' hooks in order; its whole state is which kind of hook and one index.
#include "exchange.h"

#include <assert.h>
#include <sys/socket.h>

static void run(struct lt_exchange *x);

static void on_slept(struct lt_timer *t) {
    struct lt_exchange *x = LT_ENTRY(t, struct lt_exchange, pipeline.sleep);
    lt_call_resume(&x->calls[x->pipeline.index]);
}

bool lt_pipeline_init(struct lt_exchange *x) {
    struct lt_generation *g = x->generation;
    lt_timer_init(&x->pipeline.sleep, on_slept);
    x->calls = lt_arena_zalloc(&x->arena, (g->n + 1) * sizeof *x->calls);
    if (!x->calls)
        return false;
    for (unsigned i = 0; i < g->n; i++) {
        const struct lt_instance *m = &g->instances[i];
        x->calls[i] =
            (struct lt_call){.conf = m->conf, .worker = m->worker, .metrics = m->metrics, .x = x, .module = m->module};
    }
    return true;
}

static lt_hook_fn *hook_of(const struct lt_module *m, enum lt_hook_kind kind) {
    switch (kind) {
    case LT_HOOK_REQUEST:
        return m->on_request;
    case LT_HOOK_RESPONSE:
        return m->on_response;
    default:
        return m->on_end;
    }
}

static enum lt_verdict call_hook(struct lt_call *c, lt_hook_fn *hook) {
    if (!c->touched && c->module->state_size) {
        c->state = lt_arena_zalloc(&c->x->arena, c->module->state_size);
        if (!c->state)
            return lt_call_fail(c, 503, "memory");
    }
    c->touched = true;
    return hook(c);
}

static void finish(struct lt_exchange *x) {
    x->pipeline.running = false;
    lt_exchange_hooks_done(x, x->pipeline.kind);
}

// Goes on after the module at `index` has said NEXT. Requests count up, the way back counts down; the index of the way
// back is one above the module that is next.
static void run(struct lt_exchange *x) {
    struct lt_pipeline *p = &x->pipeline;
    bool forward = p->kind == LT_HOOK_REQUEST;
    unsigned n = x->generation->n;
    while (forward ? p->index < n : p->index > 0) {
        struct lt_call *c = &x->calls[forward ? p->index : p->index - 1];
        lt_hook_fn *hook = hook_of(c->module, p->kind);
        enum lt_verdict v = hook ? call_hook(c, hook) : LT_NEXT;
        if (v == LT_WAIT) {
            if (!forward)
                p->index--;
            return;
        }
        if (v != LT_NEXT)
            return; // lt_call_reply or lt_call_fail has done what was to do
        p->index += forward ? 1 : -1u;
    }
    finish(x);
}

void lt_pipeline_run(struct lt_exchange *x, enum lt_hook_kind kind) {
    x->pipeline.kind = kind;
    x->pipeline.running = true;
    x->pipeline.index = kind == LT_HOOK_REQUEST ? 0 : x->calls ? x->generation->n : 0;
    run(x);
}

void lt_call_resume(struct lt_call *c) {
    struct lt_exchange *x = c->x;
    lt_hook_fn *then = c->then;
    assert(then && x->pipeline.running && c == &x->calls[x->pipeline.index]);
    c->then = NULL;
    c->cancel = NULL;
    enum lt_verdict v = then(c);
    if (v != LT_NEXT)
        return;
    if (x->pipeline.kind == LT_HOOK_REQUEST)
        x->pipeline.index++;
    run(x);
}

enum lt_verdict lt_call_wait(struct lt_call *c, lt_hook_fn *then, void (*cancel)(struct lt_call *)) {
    c->then = then;
    c->cancel = cancel;
    return LT_WAIT;
}

enum lt_verdict lt_call_sleep(struct lt_call *c, int64_t ms, lt_hook_fn *then) {
    lt_timer_set(&c->x->worker->loop, &c->x->pipeline.sleep, ms);
    return lt_call_wait(c, then, NULL);
}

void lt_pipeline_cancel(struct lt_exchange *x) {
    if (!x->pipeline.running || !x->calls)
        return;
    x->pipeline.running = false;
    lt_timer_clear(&x->worker->loop, &x->pipeline.sleep);
    struct lt_call *c = &x->calls[x->pipeline.index < x->generation->n ? x->pipeline.index : 0];
    if (c->then) {
        void (*cancel)(struct lt_call *) = c->cancel;
        c->then = NULL;
        c->cancel = NULL;
        if (cancel)
            cancel(c);
    }
}

void lt_pipeline_done(struct lt_exchange *x) {
    for (unsigned i = x->calls ? x->generation->n : 0; i > 0; i--) {
        struct lt_call *c = &x->calls[i - 1];
        if (c->touched && c->module->on_done)
            c->module->on_done(c);
    }
}

// --- what a module may ask of its exchange ---

struct lt_arena *lt_call_arena(struct lt_call *c) {
    return &c->x->arena;
}

struct lt_loop *lt_call_loop(struct lt_call *c) {
    return &c->x->worker->loop;
}

struct lt_h1_head *lt_call_request(struct lt_call *c) {
    return &c->x->request;
}

struct lt_h1_head *lt_call_response(struct lt_call *c) {
    return c->x->response_started ? &c->x->response : NULL;
}

bool lt_call_answered(struct lt_call *c) {
    return c->x->answered;
}

struct lt_span lt_call_id(struct lt_call *c) {
    return c->x->id;
}

bool lt_call_is_https(struct lt_call *c) {
    return c->x->https;
}

struct lt_session *lt_call_session(struct lt_call *c) {
    return c->x->session;
}

void lt_call_set_session(struct lt_call *c, struct lt_session *s) {
    c->x->session = s;
}

void lt_call_hold(struct lt_call *c, bool hold) {
    c->x->hold = hold;
}

void lt_call_must_finish(struct lt_call *c, bool must) {
    c->x->must_finish = must;
}

void lt_call_reply_field(struct lt_call *c, struct lt_span name, struct lt_span value) {
    struct lt_exchange *x = c->x;
    if (!x->reply_extra) {
        struct lt_headers *extra = lt_arena_alloc(&x->arena, sizeof *extra);
        if (!extra || !lt_headers_init(extra, &x->arena))
            return;
        x->reply_extra = extra;
    }
    if (!lt_headers_add(x->reply_extra, name, value))
        LT_LOG(LT_LOG_WARN, "reply_field", lt_f("id", x->id), lt_fs("why", "no memory"));
}

bool lt_call_peer_is_local(struct lt_call *c) {
    static const struct lt_ip six = {.family = AF_INET6, .bytes = {[15] = 1}};
    const struct lt_ip *peer = &c->x->peer;
    return peer->family == AF_UNIX || (peer->family == AF_INET && peer->bytes[0] == 127) ||
           (peer->family == AF_INET6 && memcmp(peer->bytes, six.bytes, sizeof six.bytes) == 0);
}

bool lt_call_peer_uid(struct lt_call *c, unsigned *uid) {
    struct ucred peer;
    socklen_t size = sizeof peer;
    struct lt_client *client = c->x->client;
    if (!client || client->peer.family != AF_UNIX ||
        getsockopt(client->stream.fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) != 0)
        return false;
    *uid = peer.uid;
    return true;
}

enum lt_verdict lt_call_reply(struct lt_call *c, int status, const char *type, struct lt_span body) {
    struct lt_exchange *x = c->x;
    x->outcome = LT_OUTCOME_LOCAL;
    x->pipeline.running = false;
    lt_reply(x, status, NULL, type, body, false);
    return LT_REPLY;
}

// Breaks off what has begun, or answers with the error. Store trouble is 503 by DESIGN section 5.
enum lt_verdict lt_call_fail(struct lt_call *c, int status, const char *reason) {
    struct lt_exchange *x = c->x;
    x->outcome = LT_OUTCOME_STORE_FAILED;
    x->pipeline.running = false;
    if (x->head_released && x->client && !x->client->stream.corked) {
        x->reason = reason;
        lt_exchange_client_gone(x);
        if (x->state == LT_X_END_HOOKS)
            lt_exchange_finish(x);
    } else if (x->head_released && !x->client) {
        lt_exchange_finish(x);
    } else {
        lt_reply(x, status, reason, NULL, lt_span(NULL, 0), false);
    }
    return LT_FAIL;
}
