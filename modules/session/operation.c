// SPDX-License-Identifier: Apache-2.0
// Store operations of one exchange: those that it waits for, and those that go on alone when nobody waits any more.
#include "modules/session/state.h"

#include "base/clock.h"
#include "crypto/seal.h"

#include <stdlib.h>

static const struct lt_span purpose = {"record", 6};

int64_t session_expires(const struct lt_call *c, const struct lt_record *r) {
    return r->created + session_conf(c)->absolute_ttl;
}

static struct lt_seal_context context_of(const struct token_name *name) {
    return (struct lt_seal_context){purpose, lt_span((const char *)name->token.bytes, LT_TOKEN_BYTES)};
}

bool session_seal(const struct session_worker *w, const struct token_name *name, const struct lt_record *r,
                  struct lt_buf *out) {
    struct lt_buf plain;
    lt_buf_init(&plain, LT_STORE_DATA_MAX - 1024);
    bool ok = lt_record_encode(r, &plain);
    char *room = ok ? lt_buf_reserve(out, lt_seal_size(plain.len)) : NULL;
    size_t n =
        room ? lt_seal(&w->ring, context_of(name), lt_span_cstr(name->hash), lt_buf_span(&plain), (uint8_t *)room) : 0;
    lt_buf_grew(out, n);
    lt_buf_fini(&plain);
    return n > 0;
}

struct lt_record *session_unseal(const struct session_worker *w, const struct token_name *name, struct lt_span sealed) {
    uint8_t *plain = malloc(sealed.n + 1);
    size_t n;
    struct lt_record *r = NULL;
    if (plain && lt_open(&w->ring, context_of(name), lt_span_cstr(name->hash), sealed, plain, &n, NULL))
        r = lt_record_decode(lt_span((char *)plain, n));
    free(plain);
    return r;
}

struct lt_record *session_record(struct lt_call *c) {
    struct session_call *st = c->state;
    return session_unseal(session_worker(c), &st->at, lt_buf_span(&st->op->data));
}

static struct lt_store_op *make(struct lt_call *c, enum lt_store_kind kind, const struct token_name *name) {
    struct session_call *st = c->state;
    const struct session_conf *conf = session_conf(c);
    struct lt_store_op *op = lt_store_op_new(kind);
    if (!op)
        return NULL;
    memcpy(op->hash, name->hash, sizeof op->hash);
    memcpy(op->owner, st->owner, sizeof op->owner);
    op->lease = session_worker(c)->services->exclusive ? conf->lock_ttl : 0;
    op->fence = name == &st->was ? st->was_fence : st->fence;
    op->ttl = conf->idle_ttl;
    return op;
}

static void on_result(struct lt_store_op *op) {
    struct lt_call *c = op->user;
    struct session_call *st = c->state;
    st->op_pending = false;
    lt_call_resume(c);
}

static void forget(struct session_call *st) {
    lt_store_op_free(st->op);
    st->op = NULL;
}

static struct lt_store *store_of(const struct session_worker *w) {
    return w->store ? w->store : w->revocations;
}

// By which an operator finds the session of an application's cookie; made anew when the jar may have changed.
static void set_tag(const struct lt_call *c, const struct lt_record *r, struct lt_store_op *op) {
    const struct session_conf *conf = session_conf(c);
    for (unsigned i = 0; i < r->n_cookies && !op->tag[0]; i++)
        if (cookie_kind(r->cookies[i].name, &conf->cookies) != COOKIE_REISSUED)
            lt_secret_hash(r->cookies[i].value, "tag", conf->prefix, op->tag);
}

enum lt_verdict session_op(struct lt_call *c, enum lt_store_kind kind, const struct token_name *name,
                           const struct lt_record *record, int64_t expires, lt_hook_fn *then) {
    struct session_call *st = c->state;
    struct session_worker *w = c->worker;
    forget(st);
    struct lt_store_op *op = st->op = make(c, kind, name);
    if (!op || (record && !session_seal(w, name, record, &op->data)))
        return lt_call_fail(c, 503, "memory");
    if (record && (kind != LT_STORE_SAVE || st->changes.n)) // CREATE, PUT: it comes into the store
        set_tag(c, record, op);
    op->expires = expires;
    op->release = kind == LT_STORE_SAVE;
    op->condition = kind == LT_STORE_PUT ? LT_STORE_IF_ABSENT : LT_STORE_ALWAYS;
    if (kind == LT_STORE_END)
        op->ttl = expires - lt_clock_wall() > 1 ? expires - lt_clock_wall() : 1;
    op->done = on_result;
    op->user = c;
    st->op_pending = true;
    lt_store_submit(store_of(w), op);
    return lt_call_wait(c, then, session_abandon);
}

struct lt_store_op *session_result(struct lt_call *c) {
    return ((struct session_call *)c->state)->op;
}

// --- alone ---

// The services stay for as long as it runs.
static void on_gone(void *services) {
    lt_services_drop(services);
}

static void let_go_on(struct lt_call *c, struct lt_store_op *op) {
    const struct lt_services *services = session_worker(c)->services;
    lt_services_hold(services);
    lt_store_orphan(op, on_gone, (void *)(uintptr_t)services);
}

void session_abandon(struct lt_call *c) {
    struct session_call *st = c->state;
    if (!st->op_pending)
        return;
    st->op_pending = false;
    let_go_on(c, st->op);
    st->op = NULL;
}

static void submit_alone(struct lt_call *c, enum lt_store_kind kind, const struct token_name *name) {
    struct lt_store_op *op = make(c, kind, name);
    if (!op)
        return; // the lease ends by itself
    let_go_on(c, op);
    lt_store_submit(session_worker(c)->store, op);
}

void session_unlock(struct lt_call *c) {
    struct session_call *st = c->state;
    if (st->locked)
        submit_alone(c, LT_STORE_RELEASE, &st->at);
    if (st->was_locked)
        submit_alone(c, LT_STORE_RELEASE, &st->was);
    st->locked = st->was_locked = false;
}

static void on_renew(struct lt_timer *t) {
    struct session_call *st = LT_ENTRY(t, struct session_call, timer);
    if (st->locked)
        submit_alone(st->call, LT_STORE_RENEW, &st->at);
    if (st->was_locked)
        submit_alone(st->call, LT_STORE_RENEW, &st->was);
    lt_timer_set(lt_call_loop(st->call), t, session_conf(st->call)->lock_ttl / 3);
}

void session_lease_begin(struct lt_call *c) {
    struct session_call *st = c->state;
    session_lease_end(c);
    lt_timer_init(&st->timer, on_renew);
    lt_timer_set(lt_call_loop(c), &st->timer, session_conf(c)->lock_ttl / 3);
}

void session_lease_end(struct lt_call *c) {
    struct session_call *st = c->state;
    if (st->timer.fire)
        lt_timer_clear(lt_call_loop(c), &st->timer);
}

void session_locked(struct lt_call *c) {
    struct session_call *st = c->state;
    st->locked = true;
    st->session.token = &st->at.token;
    st->session.fence = st->fence;
    st->session.sessions = &session_worker(c)->sessions;
    session_lease_begin(c);
    lt_call_must_finish(c, true);
    lt_call_hold(c, true);
}
