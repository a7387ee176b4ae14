// SPDX-License-Identifier: Apache-2.0
// What clients of a server that answers in order have in common: one connection, made when the first call comes; a deadline a call;
// back-off with jitter; a circuit breaker; calls that are told exactly once. The protocol above it brings the socket and the codec.
#pragma once

#include "net/address.h"
#include "net/loop.h"

enum lt_link_state { LT_LINK_CLOSED, LT_LINK_CONNECTING, LT_LINK_READY, LT_LINK_BACKOFF };

struct lt_link;

// One call on its way, embedded in the protocol's own.
struct lt_link_call {
    struct lt_list node;
    int64_t deadline;    // monotonic ms
    enum lt_err refused; // LT_OK: it waits for an answer
};

struct lt_link_ops {
    const char *name; // in log lines: "memcached"
    // Begins to connect; how that goes is said later with lt_link_ready(), lt_link_lost() or lt_link_failed(). LT_ERR_RESOLVE: nothing
    // was begun, its name has no address yet; while the breaker is closed it is asked again. Any other error: it failed at once.
    enum lt_err (*connect)(struct lt_link *l);
    // Closes the connection, and drops what was queued for it. May be called twice.
    void (*disconnect)(struct lt_link *l);
    // At the end of a turn, READY: sends what was queued.
    void (*flush)(struct lt_link *l);
    // This call gets no answer. It may be sent again from here.
    void (*fail)(struct lt_link_call *c, enum lt_err e);
};

struct lt_link {
    const struct lt_link_ops *ops;
    struct lt_loop *loop;
    enum lt_link_state state;
    const char *where; // for log lines; stays
    int64_t timeout;
    struct lt_list waiting, refused; // calls; `waiting` is answered in this order
    unsigned n;                      // of `waiting`
    struct lt_timer timer;           // oldest deadline, or the end of BACKOFF
    struct lt_timer again;           // CONNECTING: the next look for an address
    struct lt_task flush, refuse;
    unsigned failures; // in a row
    unsigned seed;
    void (*on_breaker)(void *user, bool opened); // NULL, or told of each change
    void *user;
};

// `timeout`: ms a call, connecting included. `where` must outlive it and holds no password.
void lt_link_init(struct lt_link *l, const struct lt_link_ops *ops, struct lt_loop *loop, int64_t timeout,
                  const char *where);

// Disconnects; calls still under way fail with LT_ERR_CANCELED.
void lt_link_fini(struct lt_link *l);

// A new call joins the line; its bytes have been queued, or will be sent by `flush`. While the breaker is open, or when too many wait, it
// is refused instead (`fail` at the end of the turn) and false comes back: drop its bytes.
bool lt_link_push(struct lt_link *l, struct lt_link_call *c);

// Tells the call at the end of the turn that it gets no answer.
void lt_link_refuse(struct lt_link *l, struct lt_link_call *c, enum lt_err e);

// The call whose answer has come, off the line. NULL: none waits.
struct lt_link_call *lt_link_take(struct lt_link *l);

// `c` leaves the line (it will not be told); `other`, if not NULL, stands in its place.
void lt_link_replace(struct lt_link *l, struct lt_link_call *c, struct lt_link_call *other);

// Behind a batch of answers: looks at the deadline of who is the oldest now.
void lt_link_watch(struct lt_link *l);

// The server has greeted: calls go out.
void lt_link_ready(struct lt_link *l);

// The connection is no good: everybody who waits is told, and the breaker opens for a while.
void lt_link_failed(struct lt_link *l, enum lt_err e);

// The connection broke off. One that was READY is made again at once, without opening the breaker: a restart need not be noticed.
void lt_link_lost(struct lt_link *l, enum lt_err e);

// From the first connection that failed until one is ready again.
static inline bool lt_link_is_open(const struct lt_link *l) {
    return l->failures > 0;
}
