// SPDX-License-Identifier: Apache-2.0
// Records that the client holds: opened on the way in, given back changed on the way out. With a list of revocations a logout reaches the
// copies, too: a tombstone in Redis under the record's id.
#include "modules/session/state.h"

#include "base/clock.h"
#include "modules/session/sealed.h"

struct client_limits session_limits(const struct lt_call *c) {
    const struct session_conf *conf = session_conf(c);
    return (struct client_limits){lt_clock_wall(), conf->idle_ttl, conf->absolute_ttl, session_worker(c)->client_max};
}

static void name_revocation(struct lt_call *c, const struct lt_record *r) {
    struct session_call *st = c->state;
    lt_secret_hash(lt_span((const char *)r->id, sizeof r->id), "revocation", session_conf(c)->prefix, st->at.hash);
}

static struct lt_record *open_form(struct lt_call *c, struct lt_span value) {
    const struct session_worker *w = c->worker;
    struct client_limits limits = session_limits(c);
    if (w->jwt.conf)
        return jwt_open(&w->jwt, value, &limits);
    return sealed_open(&w->ring, session_conf(c)->cookie_name, value, &limits, NULL);
}

static enum lt_verdict looked_up(struct lt_call *c) {
    struct session_call *st = c->state;
    struct lt_record *r = st->session.record;
    enum lt_store_result result = session_result(c)->result;
    if (result == LT_STORE_MISS)
        return session_opened(c, r);
    st->session.record = NULL;
    lt_record_free(r);
    if (result != LT_STORE_ENDED)
        return lt_call_fail(c, 503, "store_unavailable");
    session_count(c, M_REVOKED);
    return LT_NEXT;
}

enum lt_verdict session_open_held(struct lt_call *c, struct lt_span value) {
    struct session_call *st = c->state;
    struct lt_record *r = open_form(c, value);
    if (!r)
        return session_unknown(c);
    if (!session_worker(c)->revocations)
        return session_opened(c, r);
    st->session.record = r; // freed with the exchange
    name_revocation(c, r);
    return session_op(c, LT_STORE_LOAD, &st->at, NULL, 0, looked_up);
}

enum lt_verdict session_end_held(struct lt_call *c, lt_hook_fn *ended) {
    struct session_call *st = c->state;
    if (!session_worker(c)->revocations)
        return LT_NEXT;
    name_revocation(c, st->session.record);
    return session_op(c, LT_STORE_END, &st->at, NULL, session_expires(c, st->session.record), ended);
}

static struct lt_span make_form(struct lt_call *c, const struct lt_record *r, bool *too_large) {
    const struct session_worker *w = c->worker;
    struct client_limits limits = session_limits(c);
    if (w->jwt.conf)
        return jwt_make(&w->jwt, r, &limits, lt_call_arena(c), too_large);
    return sealed_make(&w->ring, session_conf(c)->cookie_name, r, &limits, lt_call_arena(c), too_large);
}

enum lt_verdict session_give_held(struct lt_call *c) {
    struct session_call *st = c->state;
    bool too_large;
    st->session.record->used = lt_clock_wall();
    struct lt_span value = make_form(c, st->session.record, &too_large);
    if (value.p)
        return session_give_value(c, value);
    if (too_large)
        LT_LOG(LT_LOG_ERROR, "session_too_large", lt_f("id", lt_call_id(c)),
               lt_fn("limit", (int64_t)session_worker(c)->client_max),
               lt_fs("do", "raise session.client_max and limits.head, or keep sessions in Redis (option \"store\"): "
                           "this one does not fit "
                           "into the client's cookies"));
    return lt_call_fail(c, 503, too_large ? "session_too_large" : "memory");
}

// The idle limit slides, not more often than every twentieth of it.
enum lt_verdict session_refresh_held(struct lt_call *c) {
    struct session_call *st = c->state;
    const struct lt_record *r = st->session.record;
    if (!st->held || !r || lt_clock_wall() - r->used < session_conf(c)->idle_ttl / 20)
        return LT_NEXT;
    return session_give_held(c);
}
