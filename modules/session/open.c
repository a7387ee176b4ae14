// SPDX-License-Identifier: Apache-2.0
// The request's side: from the client's token to the application's cookies.
#include "modules/session/state.h"

#include "base/clock.h"
#include "config/pattern.h"

#include <stdio.h>

enum { RETRY_MIN_MS = 5, RETRY_SPREAD_MS = 20 };

static enum lt_verdict load(struct lt_call *c);
static enum lt_verdict loaded(struct lt_call *c);

enum lt_verdict session_opened(struct lt_call *c, struct lt_record *record) {
    struct session_call *st = c->state;
    const struct jwt_conf *jwt = session_worker(c)->jwt.conf;
    st->session.record = record;
    lt_record_expire_cookies(record, lt_clock_wall());
    lt_call_set_session(c, &st->session);
    session_count(c, M_LOADED);
    bool ok = jar_restore(lt_call_request(c), lt_call_arena(c), record) &&
              (!jwt || jwt_add_headers(jwt, lt_call_request(c), record, lt_call_arena(c)));
    return ok ? LT_NEXT : lt_call_fail(c, 503, "memory");
}

enum lt_verdict session_unknown(struct lt_call *c) {
    session_count(c, M_MISSING);
    return LT_NEXT;
}

// --- the line before the lock ---

static void on_turn_task(struct lt_task *t) {
    struct session_call *st = LT_ENTRY(t, struct session_call, turn);
    lt_call_resume(st->call);
}

static void on_turn(struct lock_place *p) {
    struct session_call *st = LT_ENTRY(p, struct session_call, place);
    lt_loop_defer(lt_call_loop(st->call), &st->turn);
}

static void on_patience_end(struct lt_timer *t) {
    struct session_call *st = LT_ENTRY(t, struct session_call, timer);
    lt_task_cancel(&st->turn);
    lock_leave(&session_worker(st->call)->queue, &st->place);
    lt_call_resume(st->call);
}

static void leave_line(struct lt_call *c) {
    struct session_call *st = c->state;
    lt_task_cancel(&st->turn);
    session_lease_end(c);
    lock_leave(&session_worker(c)->queue, &st->place);
}

static enum lt_verdict waited_too_long(struct lt_call *c) {
    session_count(c, M_LOCK_TIMEOUT);
    return lt_call_fail(c, 503, "session_locked");
}

static void note_waiting(struct lt_call *c) {
    struct session_call *st = c->state;
    if (!st->waited)
        session_count(c, M_LOCK_WAITED);
    st->waited = true;
}

static enum lt_verdict in_turn(struct lt_call *c) {
    struct session_call *st = c->state;
    session_lease_end(c);
    return st->place.queued ? load(c) : waited_too_long(c);
}

static enum lt_verdict stand_in_line(struct lt_call *c) {
    struct session_call *st = c->state;
    st->place.hash = st->at.hash;
    st->place.turn = on_turn;
    lt_task_init(&st->turn, on_turn_task);
    if (lock_enter(&session_worker(c)->queue, &st->place))
        return load(c);
    note_waiting(c);
    lt_timer_init(&st->timer, on_patience_end);
    lt_timer_set(lt_call_loop(c), &st->timer, session_conf(c)->lock_wait);
    return lt_call_wait(c, in_turn, leave_line);
}

// --- the record ---

static enum lt_verdict load(struct lt_call *c) {
    struct session_call *st = c->state;
    return session_op(c, LT_STORE_LOAD, &st->at, NULL, 0, loaded);
}

static enum lt_verdict busy(struct lt_call *c) {
    struct session_call *st = c->state;
    uint8_t jitter = 0;
    if (lt_clock_mono() >= st->give_up || !lt_random(&jitter, 1))
        return waited_too_long(c);
    note_waiting(c);
    return lt_call_sleep(c, RETRY_MIN_MS + jitter % RETRY_SPREAD_MS, load);
}

static enum lt_verdict found(struct lt_call *c) {
    struct session_call *st = c->state;
    st->fence = session_result(c)->fence;
    if (session_worker(c)->services->exclusive)
        session_locked(c);
    struct lt_record *record = session_record(c);
    if (record)
        return session_opened(c, record);
    LT_LOG(LT_LOG_ERROR, "session_unreadable", lt_f("id", lt_call_id(c)),
           lt_fs("do", "give this replica all keys of the others: the newest first, the old ones behind it"));
    return lt_call_fail(c, 503, "session_unreadable");
}

static enum lt_verdict loaded(struct lt_call *c) {
    struct session_call *st = c->state;
    switch (session_result(c)->result) {
    case LT_STORE_OK:
        return found(c);
    case LT_STORE_BUSY:
        return busy(c);
    case LT_STORE_MISS:
    case LT_STORE_ENDED:
        // The client's cookie stays: an answer that deletes it may come after the one that has set a newer.
        lock_leave(&session_worker(c)->queue, &st->place);
        return session_unknown(c);
    default:
        if (session_passes_outage(c))
            return LT_NEXT;
        return lt_call_fail(c, 503, "store_unavailable");
    }
}

// The value of our cookie stands for a session: the record itself, or the token of one in the store.
static enum lt_verdict open_value(struct lt_call *c, struct lt_span value) {
    struct session_call *st = c->state;
    struct session_worker *w = c->worker;
    if (!w->store)
        return session_open_held(c, value);
    if (!lt_token_parse(value, &st->at.token))
        return session_open_outage(c, value);
    if (!session_name(c, &st->at))
        return session_unknown(c);
    st->give_up = lt_clock_mono() + session_conf(c)->lock_wait;
    return w->services->exclusive ? stand_in_line(c) : load(c);
}

enum lt_verdict session_on_request(struct lt_call *c) {
    struct session_call *st = c->state;
    struct session_worker *w = c->worker;
    const struct session_conf *conf = session_conf(c);
    struct lt_h1_head *request = lt_call_request(c);
    struct lt_arena *arena = lt_call_arena(c);
    st->call = c;
    st->held = !w->store;
    if (w->jwt.conf)
        jwt_strip_headers(w->jwt.conf, request);
    if (!jar_strip_path(request, arena) ||
        !jar_strip_request(request, arena, &conf->cookies, conf->cookie_name, lt_call_is_https(c), &st->cookie))
        return lt_call_fail(c, 503, "memory");
    st->exempt = lt_pattern_list_matches(&conf->exempt, lt_span(request->path.p, lt_span_find(request->path, '?')));
    if (st->exempt || st->cookie.part[0].n == 0)
        return LT_NEXT;
    struct lt_span value = client_join(&st->cookie, w->client_max, arena);
    return value.n ? open_value(c, value) : session_unknown(c);
}
