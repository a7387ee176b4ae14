// SPDX-License-Identifier: Apache-2.0
// With carriers: what the request has made of the session is in the store before the client sees the end of the answer.
// After a rotation the old record is written first: it tells whether this request still has a session to move.
#include "modules/session/state.h"

#include "base/clock.h"
#include "base/lost.h"

static enum lt_verdict commit_current(struct lt_call *c);

static enum lt_verdict done(struct lt_call *c) {
    struct session_call *st = c->state;
    return st->committed(c);
}

// The writes of a commit are lost: the client must see that.
static enum lt_verdict failed(struct lt_call *c, enum lt_store_result result) {
    session_count(c, M_LOST);
    lt_lost_add("not_committed", lt_call_request(c)->path);
    if (result != LT_STORE_FENCED)
        return lt_call_fail(c, 503, "store_unavailable");
    session_count(c, M_FENCED);
    return lt_call_fail(c, 503, "session_lease_lost");
}

static enum lt_verdict taken_back(struct lt_call *c) {
    struct session_call *st = c->state;
    enum lt_store_result result = session_result(c)->result;
    st->locked = result != LT_STORE_OK && st->locked;
    return result != LT_STORE_OK            ? failed(c, result)
           : st->refused == LT_STORE_FENCED ? failed(c, st->refused)
                                            : done(c);
}

// The session was logged out, or another request took it over, while this one ran: it must not come back under a new token.
static enum lt_verdict take_back(struct lt_call *c, enum lt_store_result why) {
    struct session_call *st = c->state;
    st->refused = why;
    return session_op(c, LT_STORE_END, &st->at, NULL, session_expires(c, st->session.record), taken_back);
}

static enum lt_verdict previous_saved(struct lt_call *c) {
    struct session_call *st = c->state;
    enum lt_store_result result = session_result(c)->result;
    st->was_locked = result != LT_STORE_OK && st->was_locked;
    if (result == LT_STORE_ENDED || result == LT_STORE_FENCED)
        return take_back(c, result);
    return result == LT_STORE_OK ? commit_current(c) : failed(c, result);
}

static enum lt_verdict commit_previous(struct lt_call *c) {
    struct session_call *st = c->state;
    struct lt_record *r = st->session.previous;
    int64_t grace = lt_clock_wall() + session_conf(c)->rotate_grace, end = session_expires(c, r);
    return session_op(c, LT_STORE_SAVE, &st->was, r, grace < end ? grace : end, previous_saved);
}

static enum lt_verdict saved(struct lt_call *c) {
    struct session_call *st = c->state;
    enum lt_store_result result = session_result(c)->result;
    st->locked = result != LT_STORE_OK && st->locked;
    // ENDED: it was logged out while this request ran, and stays so.
    return result == LT_STORE_OK || result == LT_STORE_ENDED ? done(c) : failed(c, result);
}

// Nothing was to be written: a lock that cannot be given back now ends with its lease.
static enum lt_verdict released(struct lt_call *c) {
    struct session_call *st = c->state;
    st->locked = session_result(c)->result != LT_STORE_OK;
    return done(c);
}

static enum lt_verdict commit_current(struct lt_call *c) {
    struct session_call *st = c->state;
    struct lt_record *r = st->session.record;
    if (st->session.ended) {
        session_count(c, M_ENDED);
        return session_op(c, LT_STORE_END, &st->at, NULL, session_expires(c, r), saved);
    }
    if (!r->changed)
        return session_op(c, LT_STORE_RELEASE, &st->at, NULL, 0, released);
    r->used = lt_clock_wall();
    return session_op(c, LT_STORE_SAVE, &st->at, r, session_expires(c, r), saved);
}

enum lt_verdict session_commit(struct lt_call *c, lt_hook_fn *then) {
    struct session_call *st = c->state;
    if (!st->session.record || !st->locked || st->committed)
        return then(c);
    st->committed = then;
    return st->session.previous && st->was_locked ? commit_previous(c) : commit_current(c);
}

static enum lt_verdict next(struct lt_call *c) {
    session_lease_end(c);
    return LT_NEXT;
}

enum lt_verdict session_on_end(struct lt_call *c) {
    return lt_call_answered(c) ? session_commit(c, next) : next(c); // on_done gives the lock back
}
