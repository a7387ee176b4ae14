// SPDX-License-Identifier: Apache-2.0
// What the files of this module share: the configuration, a worker's part, and one exchange's way through.
//
//   open.c    on_request: token ─▶ place in line ─▶ LOAD (+ lock) ─▶ jar into the request
//   answer.c  on_response: session cookies out of the answer ─▶ new token? ─▶ CREATE, or (no carrier) SAVE, END
//   commit.c  on_end: with carriers: SAVE, END or RELEASE before the last byte leaves
//
// Where the client holds the record (`held`), held.c takes the place of the store; outage.c does so while the store is away.
#pragma once

#include "crypto/key_ring.h"
#include "modules/session/jar.h"
#include "modules/session/jwt.h"
#include "modules/session/lock_queue.h"
#include "module.h"
#include "store/store.h"

enum on_outage { OUTAGE_REJECT, OUTAGE_SEALED, OUTAGE_ANONYMOUS };

struct session_conf {
    struct lt_option_list cookies, ignore_cookies, exempt;
    int64_t idle_ttl, absolute_ttl, rotate_grace, lock_ttl, lock_wait, store_timeout, client_max;
    struct lt_span cookie_name, prefix, revocations;
    int on_outage; // enum on_outage
};

struct session_worker {
    struct lt_sessions sessions; // what carriers may ask for
    const struct session_conf *conf;
    const struct lt_services *services;
    struct lt_store *store;       // NULL: the client holds the records
    struct lt_store *revocations; // of those; NULL: none
    struct lt_key_ring ring;
    struct jwt jwt;
    size_t client_max; // of a value that the client holds
    struct lock_queue queue;
};

enum session_metric {
    M_CREATED,
    M_LOADED,
    M_MISSING,
    M_ROTATED,
    M_ENDED,
    M_LOST,
    M_LOCK_WAITED,
    M_LOCK_TIMEOUT,
    M_FENCED,
    M_REVOKED,
    M_OUTAGE_SEALED,
    M_OUTAGE_MOVED,
    M_OUTAGE_ANONYMOUS,
    M_STORE_SECONDS,
    M_BREAKER,
    M_STORE_EVENTS,
    M_AFTER_EVENTS = M_STORE_EVENTS + LT_STORE_EVENTS - 1,
    M_COUNT,
};

// A token and the name under which the store knows it.
struct token_name {
    struct lt_token token;
    char hash[LT_TOKEN_HASH_TEXT + 1];
};

struct session_call {
    struct lt_session session; // what carriers see
    struct lt_call *call;
    struct client_cookie cookie; // as the client sent it
    bool exempt;
    bool held;      // the record goes back to the client, not into the store
    bool moved;     // the client holds a record that is in the store by now: it gets the token of that
    bool anonymous; // the store is away, and the request goes on without its session
    // where the record stands in the store
    struct token_name at, was; // `was`: after a rotation, where session.previous stands
    uint64_t fence, was_fence;
    bool locked, was_locked;      // `owner` holds the lock
    char owner[33];               // random, for this exchange
    lt_hook_fn *committed;        // what follows the commit; NULL: not begun
    enum lt_store_result refused; // why the commit of a rotation is taken back
    struct jar_changes changes;   // of the answer, kept for a second try
    unsigned tries;
    // waiting
    struct lock_place place;
    int64_t give_up; // mono ms: the end of patience for the lock
    bool waited;
    struct lt_task turn;
    struct lt_timer timer;  // in line: give_up; locked: the next renewal of the lease
    struct lt_store_op *op; // the last one that this exchange waited for
    bool op_pending;
};

static inline const struct session_conf *session_conf(const struct lt_call *c) {
    return c->conf;
}

static inline struct session_worker *session_worker(const struct lt_call *c) {
    return c->worker;
}

static inline void session_count(struct lt_call *c, enum session_metric m) {
    lt_metric_add(c->metrics, m, 1);
}

lt_hook_fn session_on_request, session_on_response, session_on_end;
void session_examine(struct lt_exam *e);

// open.c: the record is the exchange's from now on (it is freed with it), and its cookies go into the request.
enum lt_verdict session_opened(struct lt_call *c, struct lt_record *record);

// A token or a record that is not known, or is over: the request goes on without a session.
enum lt_verdict session_unknown(struct lt_call *c);

// --- cookie.c: lethe's own cookies at the client ---

// The exchange's token. / A value of any length, in as many cookies as it needs; parts that the client has beyond them are deleted. It
// lives as long as the application's own cookies do: with the browser, or for some time.
enum lt_verdict session_give_token(struct lt_call *c);
enum lt_verdict session_give_value(struct lt_call *c, struct lt_span value);
enum lt_verdict session_drop_cookie(struct lt_call *c);

// --- held.c: records that the client holds ---

struct client_limits session_limits(const struct lt_call *c);

// on_request: the record is in `value`.
enum lt_verdict session_open_held(struct lt_call *c, struct lt_span value);

// on_response: the client gets the exchange's record. / The same, if its idle limit is to slide.
enum lt_verdict session_give_held(struct lt_call *c);
enum lt_verdict session_refresh_held(struct lt_call *c);

// The session has ended: without a list of revocations there is nothing to be done.
enum lt_verdict session_end_held(struct lt_call *c, lt_hook_fn *ended);

// --- outage.c: session.on_outage ---

// on_request, `value` is no token: a record that was sealed while the store was away?
enum lt_verdict session_open_outage(struct lt_call *c, struct lt_span value);

// The store is away, and there is a token / a new session to be stored: true when the request goes on nevertheless.
bool session_passes_outage(struct lt_call *c);
bool session_holds_in_outage(struct lt_call *c);

// --- operation.c: operations of an exchange ---

// Starts one on the record at `name` and waits: `then` reads it with session_result(). The lease and the times are filled in; `record` is
// sealed into it (NULL: none). LT_FAIL (503) when there is no memory.
enum lt_verdict session_op(struct lt_call *c, enum lt_store_kind kind, const struct token_name *name,
                           const struct lt_record *record, int64_t expires, lt_hook_fn *then);

// The finished operation of session_op(); freed by the next one or at the end.
struct lt_store_op *session_result(struct lt_call *c);

// The record that a LOAD brought. NULL: it does not open, or no memory.
struct lt_record *session_record(struct lt_call *c);

// The lock of `at` is ours: from now on the exchange goes to its end, and its answer waits for the commit.
void session_locked(struct lt_call *c);

// Renews the lease every third of lock_ttl from now on / no more.
void session_lease_begin(struct lt_call *c);
void session_lease_end(struct lt_call *c);

// Nobody waits for the exchange's operation any more: it goes on alone, and a lock that it gets is given back.
void session_abandon(struct lt_call *c);

// Gives back, alone, what is still locked. At the end of an exchange.
void session_unlock(struct lt_call *c);

// The record's absolute end.
int64_t session_expires(const struct lt_call *c, const struct lt_record *r);

// Writes everything that is to be written of a session with carriers, then goes on with `then`: at the end, or with the head when a
// carrier says that the content is settled. The second call only goes on.
enum lt_verdict session_commit(struct lt_call *c, lt_hook_fn *then);

// A record sealed under the ring and its token, appended to `out`. False: no memory.
bool session_seal(const struct session_worker *w, const struct token_name *name, const struct lt_record *r,
                  struct lt_buf *out) __attribute__((warn_unused_result));

// NULL: it does not open, or no memory.
struct lt_record *session_unseal(const struct session_worker *w, const struct token_name *name, struct lt_span sealed);

// later.c: lt_sessions.begin
void session_later(const struct lt_sessions *s, struct lt_later *l);

// --- session.c ---

// Fills in name->hash from its token. False: no randomness for the owner of the locks.
bool session_name(struct lt_call *c, struct token_name *name);
