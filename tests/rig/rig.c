// SPDX-License-Identifier: Apache-2.0
// The exchange: what pipeline.c is to the proxy. The worker around it is in rig_worker.c.
#include "rig.h"

#include "http/h1_write.h"
#include "rig_worker.h"

#include <stdio.h>
#include <stdlib.h>

enum { ARENA_MAX = 1 << 20, HEAD_MAX = 64 << 10 };

static struct rig_exchange *of(const struct lt_call *c) {
    return LT_ENTRY(c, struct rig_exchange, call);
}

static void finish(struct rig_exchange *x) {
    x->stage = RIG_DONE;
    if (x->call.touched && x->call.module->on_done)
        x->call.module->on_done(&x->call);
}

// --- hooks ---

// Runs a hook or a continuation, and sees that its verdict is what an lt_call_* made.
static enum lt_verdict run(struct rig_exchange *x, lt_hook_fn *hook) {
    x->in_hook = true;
    x->replied = x->failed = false;
    if (x->memory >= 0)
        x->arena.max = x->arena.used + (size_t)x->memory;
    enum lt_verdict v = hook(&x->call);
    x->arena.max = ARENA_MAX; // the test's own looks are not short of it
    x->in_hook = false;
    if ((v == LT_WAIT) != (x->call.then != NULL))
        rig_die(v == LT_WAIT ? "LT_WAIT without lt_call_wait()"
                             : "lt_call_wait() was called, but the verdict is not LT_WAIT");
    if ((v == LT_REPLY) != x->replied)
        rig_die("the verdict LT_REPLY and lt_call_reply() go together");
    if ((v == LT_FAIL) != x->failed)
        rig_die("the verdict LT_FAIL and lt_call_fail() go together");
    x->verdict = v;
    if (v != LT_WAIT && x->closing)
        finish(x);
    return v;
}

static enum lt_verdict begin(struct rig_exchange *x, enum rig_stage stage, lt_hook_fn *hook) {
    const struct lt_module *m = x->call.module;
    x->stage = stage;
    x->verdict = LT_NEXT;
    if (hook && !x->call.touched && m->state_size && !(x->call.state = lt_arena_zalloc(&x->arena, m->state_size)))
        rig_die("no memory for the module's state");
    x->call.touched = x->call.touched || hook;
    if (hook)
        return run(x, hook);
    if (x->closing)
        finish(x);
    return LT_NEXT;
}

struct rig_exchange *rig_exchange_new(struct rig *r) {
    struct rig_exchange *x = calloc(1, sizeof *x);
    if (!x)
        rig_die("no memory");
    x->rig = r;
    x->memory = -1;
    r->exchanges++;
    x->call = (struct lt_call){.conf = r->conf, .worker = r->worker, .metrics = &r->metrics, .module = r->module};
    x->peer_uid = -1;
    lt_arena_init(&x->arena, ARENA_MAX);
    lt_timer_init(&x->sleep, NULL);
    return x;
}

// "\n" to CRLF, and the empty line at the end.
static struct lt_span wire_text(struct rig_exchange *x, const char *head) {
    size_t n = strlen(head);
    char *out = lt_arena_alloc(&x->arena, 2 * n + 5), *p = out;
    if (!out)
        rig_die("no memory for a head");
    for (size_t i = 0; i < n; i++) {
        if (head[i] == '\n')
            *p++ = '\r';
        *p++ = head[i];
    }
    if (n == 0 || head[n - 1] != '\n')
        p = (char *)mempcpy(p, "\r\n", 2);
    if (n < 2 || strcmp(head + n - 2, "\n\n") != 0)
        p = (char *)mempcpy(p, "\r\n", 2);
    return lt_span(out, (size_t)(p - out));
}

static void parse(struct rig_exchange *x, struct lt_h1_head *head, bool response, const char *text) {
    struct lt_h1_parser p;
    struct lt_span wire = wire_text(x, text);
    if (!lt_h1_parser_init(&p, head, &x->arena, response, HEAD_MAX))
        rig_die("no memory for a head's fields");
    if (lt_h1_parse(&p, head, wire.p, wire.n) != LT_H1_DONE || head->size != wire.n)
        rig_die("not one whole head (%s):\n%s", lt_h1_reason_name(p.reason), text);
}

enum lt_verdict rig_request(struct rig_exchange *x, const char *head) {
    if (x->stage != RIG_FRESH)
        rig_die("an exchange has one request");
    parse(x, &x->request, false, head);
    return begin(x, RIG_REQUEST, x->call.module->on_request);
}

enum lt_verdict rig_response(struct rig_exchange *x, const char *head) {
    if (x->stage != RIG_REQUEST || x->verdict != LT_NEXT)
        rig_die("a response follows a request that went upstream");
    parse(x, &x->response, true, head);
    return begin(x, RIG_RESPONSE, x->call.module->on_response);
}

enum lt_verdict rig_end(struct rig_exchange *x) {
    if (x->verdict != LT_NEXT || !(x->stage == RIG_RESPONSE || (x->stage == RIG_REQUEST && x->must_finish)))
        rig_die("on_end follows a response that went out, or a request that must finish");
    return begin(x, RIG_END, x->call.module->on_end);
}

// --- the end ---

static void cancel(struct rig_exchange *x) {
    void (*fn)(struct lt_call *) = x->call.cancel;
    bool waits = x->call.then != NULL;
    lt_timer_clear(&x->rig->loop, &x->sleep);
    x->call.then = NULL;
    x->call.cancel = NULL;
    if (waits && fn)
        fn(&x->call);
}

bool rig_close(struct rig_exchange *x) {
    if (x->in_hook)
        rig_die("rig_close() from inside a hook");
    if (x->closing || x->stage == RIG_DONE)
        return x->stage == RIG_DONE;
    x->closing = true;
    if (x->stage == RIG_END && x->verdict == LT_WAIT)
        return false; // what is being committed is not broken off
    cancel(x);
    if (x->must_finish && x->stage != RIG_END)
        begin(x, RIG_END, x->call.module->on_end);
    else
        finish(x);
    return x->stage == RIG_DONE;
}

void rig_exchange_free(struct rig_exchange *x) {
    if (!rig_close(x))
        rig_die("rig_exchange_free(): on_end still waits");
    x->rig->exchanges--;
    lt_arena_fini(&x->arena);
    free(x);
}

// --- what a module may ask of its exchange: module.h ---

struct lt_arena *lt_call_arena(struct lt_call *c) {
    return &of(c)->arena;
}

struct lt_loop *lt_call_loop(struct lt_call *c) {
    return &of(c)->rig->loop;
}

struct lt_h1_head *lt_call_request(struct lt_call *c) {
    return &of(c)->request;
}

struct lt_h1_head *lt_call_response(struct lt_call *c) {
    return of(c)->response.status ? &of(c)->response : NULL;
}

bool lt_call_answered(struct lt_call *c) {
    return of(c)->response.status != 0;
}

struct lt_span lt_call_id(struct lt_call *c) {
    (void)c;
    return LT_S("rig");
}

bool lt_call_is_https(struct lt_call *c) {
    return of(c)->https;
}

struct lt_session *lt_call_session(struct lt_call *c) {
    return of(c)->session;
}

void lt_call_set_session(struct lt_call *c, struct lt_session *s) {
    of(c)->session = s;
}

enum lt_verdict lt_call_wait(struct lt_call *c, lt_hook_fn *then, void (*cancel_fn)(struct lt_call *)) {
    if (!of(c)->in_hook || !then)
        rig_die("lt_call_wait(): only from a hook, and with a continuation");
    c->then = then;
    c->cancel = cancel_fn;
    return LT_WAIT;
}

void lt_call_resume(struct lt_call *c) {
    lt_hook_fn *then = c->then;
    if (of(c)->in_hook || !then)
        rig_die(then ? "lt_call_resume() from inside a hook" : "lt_call_resume() of a call that does not wait");
    c->then = NULL;
    c->cancel = NULL;
    run(of(c), then);
}

static void on_slept(struct lt_timer *t) {
    lt_call_resume(&LT_ENTRY(t, struct rig_exchange, sleep)->call);
}

enum lt_verdict lt_call_sleep(struct lt_call *c, int64_t ms, lt_hook_fn *then) {
    struct rig_exchange *x = of(c);
    x->sleep.fire = on_slept;
    lt_timer_set(&x->rig->loop, &x->sleep, ms);
    return lt_call_wait(c, then, NULL);
}

enum lt_verdict lt_call_reply(struct lt_call *c, int status, const char *type, struct lt_span body) {
    struct rig_exchange *x = of(c);
    if (x->stage != RIG_REQUEST)
        rig_die("lt_call_reply() outside on_request");
    x->replied = true;
    x->status = status;
    x->type = lt_arena_dup(&x->arena, lt_span_cstr(type)).p;
    x->body = lt_arena_dup(&x->arena, body).p;
    x->body_size = body.n;
    return LT_REPLY;
}

enum lt_verdict lt_call_fail(struct lt_call *c, int status, const char *reason) {
    struct rig_exchange *x = of(c);
    x->failed = true;
    x->status = status;
    x->reason = reason;
    return LT_FAIL;
}

void lt_call_reply_field(struct lt_call *c, struct lt_span name, struct lt_span value) {
    struct rig_exchange *x = of(c);
    if (!x->extra.v && !lt_headers_init(&x->extra, &x->arena))
        rig_die("no memory for a field of the reply");
    if (!lt_headers_add(&x->extra, name, value))
        rig_die("no memory for a field of the reply");
}

bool lt_call_peer_uid(struct lt_call *c, unsigned *uid) {
    if (of(c)->peer_uid < 0)
        return false;
    *uid = (unsigned)of(c)->peer_uid;
    return true;
}

// The next piece; behind the last one the module goes on.
static void on_read(struct lt_task *t) {
    struct rig_exchange *x = LT_ENTRY(t, struct rig_exchange, read);
    size_t n = x->piece && x->piece < x->request_body.n ? x->piece : x->request_body.n;
    if (n && !lt_buf_append(x->read_into, lt_span(x->request_body.p, n))) {
        x->call.then = NULL;
        x->replied = true;
        x->status = 413;
        x->verdict = LT_REPLY;
        return;
    }
    x->request_body = lt_span(x->request_body.p + n, x->request_body.n - n);
    if (x->request_body.n)
        lt_loop_defer(&x->rig->loop, t);
    else
        lt_call_resume(&x->call);
}

static void cancel_read(struct lt_call *c) {
    lt_task_cancel(&of(c)->read);
}

enum lt_verdict lt_call_read_body(struct lt_call *c, struct lt_buf *into, lt_hook_fn *then) {
    struct rig_exchange *x = of(c);
    if (x->stage != RIG_REQUEST)
        rig_die("lt_call_read_body() outside on_request");
    x->read_into = into;
    lt_task_init(&x->read, on_read);
    lt_loop_defer(&x->rig->loop, &x->read);
    return lt_call_wait(c, then, cancel_read);
}

void lt_call_hold(struct lt_call *c, bool hold) {
    if (of(c)->stage != RIG_REQUEST && of(c)->stage != RIG_RESPONSE)
        rig_die("lt_call_hold(): the head is out already");
    of(c)->hold = hold;
}

void lt_call_must_finish(struct lt_call *c, bool must) {
    of(c)->must_finish = must;
}

// --- what the test looks at ---

static const char *plain_text(struct rig_exchange *x, bool ok, struct lt_buf *out) {
    char *text = ok ? lt_arena_alloc(&x->arena, out->len + 1) : NULL, *p = text;
    if (!text)
        rig_die("no memory to write a head");
    for (size_t i = 0; i < out->len; i++)
        if (out->p[out->off + i] != '\r')
            *p++ = out->p[out->off + i];
    *p = '\0';
    lt_buf_fini(out);
    return text;
}

const char *rig_request_text(struct rig_exchange *x) {
    struct lt_buf out;
    lt_buf_init(&out, ARENA_MAX);
    return plain_text(x, lt_h1_write_request(&out, &x->request, &(struct lt_h1_out){.kind = LT_BODY_NONE}), &out);
}

const char *rig_response_text(struct rig_exchange *x) {
    struct lt_buf out;
    lt_buf_init(&out, ARENA_MAX);
    return plain_text(x, lt_h1_write_response(&out, &x->response, &(struct lt_h1_out){.kind = LT_BODY_NONE}), &out);
}

static const char *field(struct rig_exchange *x, const struct lt_headers *h, const char *name) {
    struct lt_span all = {0};
    for (unsigned i = 0; i < h->n; i++) {
        struct lt_span v = h->v[i].value;
        if (h->v[i].dropped || !lt_span_eq_nocase(h->v[i].name, lt_span_cstr(name)))
            continue;
        all = lt_arena_printf(&x->arena, "%s%s%.*s", all.p ? all.p : "", all.p ? "\n" : "", (int)v.n, v.n ? v.p : "");
        if (!all.p)
            rig_die("no memory to show a field");
    }
    return all.p;
}

const char *rig_request_field(struct rig_exchange *x, const char *name) {
    return field(x, &x->request.headers, name);
}

const char *rig_response_field(struct rig_exchange *x, const char *name) {
    return field(x, &x->response.headers, name);
}

const char *rig_reply_field(struct rig_exchange *x, const char *name) {
    const struct lt_header *f = x->extra.v ? lt_headers_find(&x->extra, lt_span_cstr(name)) : NULL;
    return f ? lt_arena_dup(&x->arena, f->value).p : NULL;
}
