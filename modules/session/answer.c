// SPDX-License-Identifier: Apache-2.0
// The answer's side: session cookies go into the record, the client gets a token when there is a new one.
#include "modules/session/state.h"

#include "base/clock.h"
#include "base/lost.h"
#include "modules/session/unnamed.h"

enum { TRIES = 4 };

static enum lt_verdict decide(struct lt_call *c);

static enum lt_verdict lost(struct lt_call *c, const char *reason) {
    session_count(c, M_LOST);
    lt_lost_add("not_committed", lt_call_request(c)->path);
    return lt_call_fail(c, 503, reason);
}

static enum lt_verdict taken_back(struct lt_call *c) {
    return session_result(c)->result == LT_STORE_OK ? LT_NEXT : lost(c, "store_unavailable");
}

// The old token's record has been brought to its end; or it was logged out while this request ran, and then the session must
// not come back under a new token.
static enum lt_verdict shortened(struct lt_call *c) {
    struct session_call *st = c->state;
    enum lt_store_result result = session_result(c)->result;
    if (result == LT_STORE_ENDED)
        return session_op(c, LT_STORE_END, &st->at, NULL, session_expires(c, st->session.record), taken_back);
    return result == LT_STORE_DOWN ? lost(c, "store_unavailable") : session_give_token(c);
}

static enum lt_verdict created(struct lt_call *c) {
    struct session_call *st = c->state;
    if (session_result(c)->result != LT_STORE_OK)
        return session_holds_in_outage(c) ? session_give_held(c) : lost(c, "store_unavailable");
    st->fence = session_result(c)->fence;
    if (session_worker(c)->services->exclusive)
        session_locked(c);
    lt_call_set_session(c, &st->session);
    session_count(c, st->session.previous ? M_ROTATED : M_CREATED);
    if (!st->session.previous || st->was_locked) // with carriers the old record is written at the end
        return session_give_token(c);
    return session_op(c, LT_STORE_EXPIRE, &st->was, NULL, lt_clock_wall() + session_conf(c)->rotate_grace, shortened);
}

static enum lt_verdict create(struct lt_call *c) {
    struct session_call *st = c->state;
    struct lt_record *r = st->session.record;
    bool away = session_worker(c)->store && lt_store_is_away(session_worker(c)->store);
    if (st->held || (away && session_holds_in_outage(c))) {
        session_count(c, st->session.previous ? M_ROTATED : M_CREATED);
        return session_give_held(c);
    }
    if (!lt_token_new(&st->at.token) || !session_name(c, &st->at))
        return lt_call_fail(c, 503, "randomness");
    r->used = lt_clock_wall();
    return session_op(c, LT_STORE_CREATE, &st->at, r, session_expires(c, r), created);
}

static enum lt_verdict ended(struct lt_call *c) {
    return session_result(c)->result == LT_STORE_OK ? LT_NEXT : lost(c, "store_unavailable");
}

static enum lt_verdict end(struct lt_call *c) {
    struct session_call *st = c->state;
    st->session.ended = true;
    enum lt_verdict v = session_drop_cookie(c);
    if (v != LT_NEXT || session_worker(c)->services->exclusive)
        return v; // with carriers at the end, under the lock
    session_count(c, M_ENDED);
    if (st->held)
        return session_end_held(c, ended);
    return session_op(c, LT_STORE_END, &st->at, NULL, session_expires(c, st->session.record), ended);
}

// Somebody has written in between (there is no lock without carriers): the changes are made again, to what is there now.
static enum lt_verdict reloaded(struct lt_call *c) {
    struct session_call *st = c->state;
    enum lt_store_result result = session_result(c)->result;
    if (result == LT_STORE_MISS || result == LT_STORE_ENDED)
        return LT_NEXT; // logged out meanwhile
    struct lt_record *fresh = result == LT_STORE_OK ? session_record(c) : NULL;
    if (!fresh)
        return lost(c, "store_unavailable");
    st->fence = session_result(c)->fence;
    lt_record_free(st->session.record);
    st->session.record = fresh;
    return decide(c);
}

static enum lt_verdict updated(struct lt_call *c) {
    struct session_call *st = c->state;
    enum lt_store_result result = session_result(c)->result;
    if (result == LT_STORE_FENCED && ++st->tries < TRIES)
        return session_op(c, LT_STORE_LOAD, &st->at, NULL, 0, reloaded);
    return result == LT_STORE_OK || result == LT_STORE_ENDED
               ? LT_NEXT
               : lost(c, result == LT_STORE_FENCED ? "session_conflict" : "store_unavailable");
}

static enum lt_verdict update(struct lt_call *c) {
    struct session_call *st = c->state;
    struct lt_record *r = st->session.record;
    if (st->held)
        return session_give_held(c);
    enum lt_verdict v = (jar_persists_until(r) || st->moved) && st->tries == 0 ? session_give_token(c) : LT_NEXT;
    if (v != LT_NEXT || session_worker(c)->services->exclusive || !r->changed)
        return v; // with carriers at the end, with the content
    r->used = lt_clock_wall();
    return session_op(c, LT_STORE_SAVE, &st->at, r, session_expires(c, r), updated);
}

// The session moves to a new token; the old one leads to the old id for a while.
static enum lt_verdict rotate(struct lt_call *c, struct lt_record *next) {
    struct session_call *st = c->state;
    st->session.previous = st->session.record;
    st->session.record = next;
    st->was = st->at;
    st->was_fence = st->fence;
    st->was_locked = st->locked;
    st->locked = false;
    // Whoever has a copy of what the client held before must not get at the session by it, nor end it.
    if (st->held && !lt_random(next->id, sizeof next->id))
        return lt_call_fail(c, 503, "randomness");
    return create(c);
}

// Nobody carries the content, and a page that only reads gives its user a new id: the application does not know the one that it was sent.
static void note_reissued(struct lt_call *c) {
    enum lt_method method = lt_call_request(c)->method;
    if (!session_worker(c)->services->carriers && (method == LT_METHOD_GET || method == LT_METHOD_HEAD))
        lt_lost_add("reissued_id", lt_call_request(c)->path);
}

// What the session cookies of this answer mean.
static enum lt_verdict decide(struct lt_call *c) {
    struct session_call *st = c->state;
    struct lt_record *old = st->session.record;
    struct lt_record *next = old ? lt_record_copy(old) : lt_record_new(lt_clock_wall());
    if (!next)
        return lt_call_fail(c, 503, "memory");
    struct jar_result r =
        jar_apply(&st->changes, next, &session_conf(c)->cookies, session_worker(c)->services->carriers, lt_clock_wall());
    if (r.failed || (!old && r.set == 0)) {
        lt_record_free(next);
        return r.failed ? lt_call_fail(c, 503, "session_jar_full") : LT_NEXT;
    }
    bool empty = next->n_cookies == 0 && r.deleted;
    if (old && r.moved && !empty) {
        note_reissued(c);
        return rotate(c, next);
    }
    lt_record_free(old);
    st->session.record = next;
    if (!old)
        return create(c);
    return empty ? end(c) : update(c);
}

// A carrier has all that there will be (an event stream, a WebSocket): nothing is held up to the end of that.
static enum lt_verdict settled(struct lt_call *c) {
    struct session_call *st = c->state;
    session_lease_end(c);
    session_unlock(c);
    lock_leave(&session_worker(c)->queue, &st->place);
    lt_call_hold(c, false);
    lt_call_must_finish(c, false);
    return LT_NEXT;
}

// What stays in the answer and may be a session's cookie all the same.
static void look_for_unnamed(struct lt_call *c) {
    struct lt_set_cookie cookie;
    const struct lt_headers *h = &lt_call_response(c)->headers;
    for (struct lt_header *f = NULL; (f = lt_headers_next(h, LT_HDR_SET_COOKIE, f));)
        if (lt_set_cookie_parse(f->value, &cookie) && unnamed_looks_like_session(&cookie))
            unnamed_note(cookie.name, lt_call_request(c)->path);
}

enum lt_verdict session_on_response(struct lt_call *c) {
    struct session_call *st = c->state;
    const struct session_conf *conf = session_conf(c);
    struct lt_h1_head *response = lt_call_response(c);
    if (!jar_strip_location(response, lt_call_arena(c)))
        return lt_call_fail(c, 503, "memory");
    jar_take_response(response, &conf->cookies, &st->changes);
    look_for_unnamed(c);
    if (st->exempt || st->anonymous)
        return LT_NEXT;
    if (st->session.settled && st->changes.n == 0)
        return session_commit(c, settled);
    st->session.settled = false;
    if (st->changes.n)
        return decide(c);
    return st->moved ? session_give_token(c) : session_refresh_held(c);
}
