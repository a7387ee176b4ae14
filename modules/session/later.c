// SPDX-License-Identifier: Apache-2.0
// Behind the end of an exchange: what an application writes after its answer is brought into the record under a lock of its own.
#include "modules/session/state.h"

#include "base/clock.h"

#include <stdio.h>

enum { AGAIN_MS = 25 };

static void load(struct lt_later *l);

static struct session_worker *worker_of(const struct lt_later *l) {
    return LT_ENTRY(l->sessions, struct session_worker, sessions);
}

static void name_of(const struct lt_later *l, struct token_name *name) {
    name->token = l->token;
    lt_token_hash(&l->token, worker_of(l)->conf->prefix, name->hash);
}

// At the end of the turn: the asker may free itself, and the store, which has called us.
static void on_gone(void *later) {
    struct lt_later *l = later;
    const struct lt_services *services = worker_of(l)->services;
    l->gone(l, l->result);
    lt_services_drop(services);
}

static struct lt_store_op *make(struct lt_later *l, enum lt_store_kind kind) {
    struct lt_store_op *op = lt_store_op_new(kind);
    struct token_name name;
    if (!op)
        return NULL;
    name_of(l, &name);
    memcpy(op->hash, name.hash, sizeof op->hash);
    memcpy(op->owner, l->owner, sizeof op->owner);
    op->lease = worker_of(l)->conf->lock_ttl;
    op->ttl = worker_of(l)->conf->idle_ttl;
    op->fence = l->fence;
    op->user = l;
    return op;
}

// The last operation, `op`, gives the lock back, or finds that there is none; then it is over.
static void end(struct lt_later *l, enum lt_later_result result, struct lt_store_op *op) {
    l->result = result;
    l->op = NULL;
    op->kind = LT_STORE_RELEASE;
    lt_store_orphan(op, on_gone, l);
    lt_store_submit(worker_of(l)->store, op);
}

static void on_saved(struct lt_store_op *op) {
    struct lt_later *l = op->user;
    static const enum lt_later_result results[] = {
        [LT_STORE_OK] = LT_LATER_SAVED,  [LT_STORE_MISS] = LT_LATER_ENDED,  [LT_STORE_ENDED] = LT_LATER_ENDED,
        [LT_STORE_BUSY] = LT_LATER_LOST, [LT_STORE_FENCED] = LT_LATER_GONE, [LT_STORE_DOWN] = LT_LATER_LOST,
    };
    end(l, results[op->result], op);
}

static void save(struct lt_later *l, struct lt_store_op *op, struct lt_record *r) {
    struct token_name name;
    name_of(l, &name);
    lt_buf_consume(&op->data, op->data.len);
    r->used = lt_clock_wall();
    if (!session_seal(worker_of(l), &name, r, &op->data)) {
        end(l, LT_LATER_LOST, op);
        return;
    }
    op->kind = LT_STORE_SAVE;
    op->expires = r->created + worker_of(l)->conf->absolute_ttl;
    op->release = true;
    op->done = on_saved;
    lt_store_submit(worker_of(l)->store, op);
}

static void found(struct lt_later *l, struct lt_store_op *op) {
    struct token_name name;
    name_of(l, &name);
    bool others = op->fence != l->fence + 1;
    struct lt_record *r = others ? NULL : session_unseal(worker_of(l), &name, lt_buf_span(&op->data));
    l->fence = op->fence;
    if (r && l->amend(l, r))
        save(l, op, r);
    else
        end(l, others ? LT_LATER_GONE : r ? LT_LATER_SAME : LT_LATER_LOST, op);
    lt_record_free(r);
}

static void on_again(struct lt_timer *t) {
    load(LT_ENTRY(t, struct lt_later, again));
}

static void on_loaded(struct lt_store_op *op) {
    struct lt_later *l = op->user;
    bool wait = op->result == LT_STORE_BUSY || op->result == LT_STORE_DOWN;
    if (op->result == LT_STORE_OK)
        found(l, op);
    else if (wait && lt_clock_mono() < l->give_up)
        lt_timer_set(worker_of(l)->services->loop, &l->again, AGAIN_MS);
    else
        end(l, wait ? LT_LATER_LOST : LT_LATER_ENDED, op);
}

static void load(struct lt_later *l) {
    lt_buf_consume(&l->op->data, l->op->data.len);
    lt_store_submit(worker_of(l)->store, l->op);
}

void session_later(const struct lt_sessions *s, struct lt_later *l) {
    uint8_t random[LT_STORE_OWNER / 4 * 3];
    l->sessions = s;
    l->give_up = lt_clock_mono() + worker_of(l)->conf->lock_wait;
    lt_timer_init(&l->again, on_again);
    l->op = lt_random(random, sizeof random) ? make(l, LT_STORE_LOAD) : NULL;
    if (!l->op) {
        l->gone(l, LT_LATER_LOST);
        return;
    }
    lt_base64url_encode(random, sizeof random, l->owner);
    memcpy(l->op->owner, l->owner, sizeof l->op->owner);
    l->op->done = on_loaded;
    lt_services_hold(worker_of(l)->services);
    load(l);
}
