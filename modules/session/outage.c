// SPDX-License-Identifier: Apache-2.0
// session.on_outage: what happens while Redis is away.
//
// "sealed": a new session is sealed into the client's cookie. Each request that brings such a cookie asks the store first, under a token
// made of the record's id and the key that sealed it: every replica comes to the same one, so several requests at once move the session
// only once, and a copy of the cookie leads to what the session has become since, or to its tombstone.
//
//   LOAD ─▶ OK: it has moved already          ─▶ the client gets the token
//        ─▶ MISS ─▶ PUT if absent ─▶ OK: moved ─▶ the client gets the token
//        ─▶ ENDED: it was logged out
//        ─▶ DOWN: still away, the client keeps the record
//
// "anonymous": a GET or HEAD goes on without its session, and nothing of it is changed.
#include "modules/session/state.h"

#include "base/clock.h"
#include "modules/session/sealed.h"

static enum lt_verdict asked(struct lt_call *c);

static enum lt_verdict go_on_held(struct lt_call *c) {
    struct session_call *st = c->state;
    st->held = true;
    return session_opened(c, st->session.record);
}

static enum lt_verdict go_on_moved(struct lt_call *c, struct lt_record *r) {
    struct session_call *st = c->state;
    st->fence = session_result(c)->fence;
    st->moved = true;
    return session_opened(c, r);
}

static enum lt_verdict logged_out(struct lt_call *c) {
    struct session_call *st = c->state;
    lt_record_free(st->session.record);
    st->session.record = NULL;
    return session_unknown(c);
}

static enum lt_verdict put(struct lt_call *c) {
    struct session_call *st = c->state;
    switch (session_result(c)->result) {
    case LT_STORE_OK:
        session_count(c, M_OUTAGE_MOVED);
        return go_on_moved(c, st->session.record);
    case LT_STORE_FENCED: // another request was faster
        return session_op(c, LT_STORE_LOAD, &st->at, NULL, 0, asked);
    case LT_STORE_ENDED:
        return logged_out(c);
    default:
        return go_on_held(c);
    }
}

static enum lt_verdict found(struct lt_call *c) {
    struct session_call *st = c->state;
    struct lt_record *r = session_record(c);
    if (!r)
        return lt_call_fail(c, 503, "session_unreadable");
    lt_record_free(st->session.record);
    return go_on_moved(c, r);
}

static enum lt_verdict asked(struct lt_call *c) {
    struct session_call *st = c->state;
    struct lt_record *r = st->session.record;
    switch (session_result(c)->result) {
    case LT_STORE_OK:
        return found(c);
    case LT_STORE_MISS:
        return session_op(c, LT_STORE_PUT, &st->at, r, session_expires(c, r), put);
    case LT_STORE_ENDED:
        return logged_out(c);
    default:
        return go_on_held(c);
    }
}

static bool name_record(struct lt_call *c, const struct lt_key *key, const struct lt_record *r) {
    struct session_call *st = c->state;
    struct lt_seal_context context = {LT_S("outage-token"), lt_span((const char *)r->id, sizeof r->id)};
    lt_key_derive(key, context, st->at.token.bytes);
    return session_name(c, &st->at);
}

enum lt_verdict session_open_outage(struct lt_call *c, struct lt_span value) {
    struct session_call *st = c->state;
    const struct session_worker *w = c->worker;
    const struct session_conf *conf = session_conf(c);
    struct client_limits limits = session_limits(c);
    const struct lt_key *key;
    struct lt_record *r =
        conf->on_outage == OUTAGE_SEALED ? sealed_open(&w->ring, conf->cookie_name, value, &limits, &key) : NULL;
    if (!r)
        return session_unknown(c);
    st->session.record = r; // freed with the exchange
    if (!name_record(c, key, r))
        return lt_call_fail(c, 503, "randomness");
    return session_op(c, LT_STORE_LOAD, &st->at, NULL, 0, asked);
}

bool session_passes_outage(struct lt_call *c) {
    struct session_call *st = c->state;
    const struct lt_h1_head *request = lt_call_request(c);
    bool reads = request->method == LT_METHOD_GET || request->method == LT_METHOD_HEAD;
    bool upgrades = lt_headers_get(&request->headers, LT_HDR_UPGRADE) != NULL; // lives for longer than the outage
    st->anonymous = session_conf(c)->on_outage == OUTAGE_ANONYMOUS && reads && !upgrades;
    if (st->anonymous)
        session_count(c, M_OUTAGE_ANONYMOUS);
    return st->anonymous;
}

bool session_holds_in_outage(struct lt_call *c) {
    struct session_call *st = c->state;
    if (session_conf(c)->on_outage != OUTAGE_SEALED || st->session.previous)
        return false;
    st->held = true;
    session_count(c, M_OUTAGE_SEALED);
    return true;
}
