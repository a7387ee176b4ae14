// SPDX-License-Identifier: Apache-2.0
// A client of one Redis server for one loop: one pipelined connection, flushed once a loop turn; a deadline a command;
// reconnection with back-off and jitter; a circuit breaker. hiredis is the codec (redisFormatCommandArgv, redisReader), the
// stream is ours. redis_sentinel.c and redis_cluster.c find out which server it is, and stand on the hooks below.
#pragma once

#include "net/stream.h"

struct redisReply;
struct lt_redis;

// One command on its way, embedded in whatever waits for it.
struct lt_redis_call {
    struct lt_list node; // in the client's list of refused calls
    struct lt_redis *client;
    // Called exactly once, from the loop and never from inside lt_redis_send(). `reply` (an error reply too) is valid during
    // the call only; NULL with `e` set when there is none: TIMEOUT, CLOSED, REFUSED, … The call may be sent again from here.
    void (*done)(struct lt_redis_call *c, enum lt_err e, const struct redisReply *reply);
    enum lt_err refused; // private: decided already, waits for the end of the turn
    bool busy;
    bool asking; // ASKING goes before it: the node is to serve a slot that it is about to receive
};

// What an owner is told of, from the loop, never from inside lt_redis_send().
enum lt_redis_event {
    LT_REDIS_READY,  // a new connection takes commands
    LT_REDIS_OPENED, // the breaker has opened, and a moment later
    LT_REDIS_CLOSED, // it has closed: a connection is ready again
};

// Who the client belongs to, and what it does for it. Each hook may be NULL.
struct lt_redis_owner {
    void (*happened)(struct lt_redis_owner *o, struct lt_redis *r, enum lt_redis_event e);
    // Where is the server? Before each connection; the answer is lt_redis_located(), at once or later. NULL: at `address`.
    void (*locate)(struct lt_redis_owner *o, struct lt_redis *r);
    // A message that no command asked for (a subscription).
    void (*pushed)(struct lt_redis_owner *o, struct lt_redis *r, const struct redisReply *message);
};

struct lt_redis_options {
    struct lt_span address;        // "host:port" or "unix:/path"; with `locate`: empty
    struct lt_span user, password; // empty: none
    unsigned database;
    int64_t timeout;              // ms a command, connecting included
    struct lt_tls_context *tls;   // NULL: plain. Must outlive the client
    struct lt_span server_name;   // for TLS; empty: the address's host
    bool must_be_master;          // a connection whose ROLE is another one is no good
    bool password_is_optional;    // a server that has no such user or password is good all the same
    struct lt_redis_owner *owner; // or NULL
};

// Connects when the first command comes, then keeps the connection. NULL: no memory.
struct lt_redis *lt_redis_new(struct lt_loop *loop, const struct lt_redis_options *o);

// Calls still under way are completed with LT_ERR_CANCELED. Not from inside a hook or a `done` of this client.
void lt_redis_free(struct lt_redis *r);

// Queues one command of at most 16 words. `call->done` must be set; `call` must not be busy. Fails (through `done`, at the end of
// the turn) at once while the breaker is open.
void lt_redis_send(struct lt_redis *r, struct lt_redis_call *call, const struct lt_span *args, unsigned n);

// The caller is no longer interested: `done` will not be called.
void lt_redis_cancel(struct lt_redis_call *call);

// Is the breaker open? From the first connection that failed until one is ready again; all that time commands fail at once, and
// nothing but the greeting of a new connection tries whether somebody is there.
bool lt_redis_is_open(const struct lt_redis *r);

// Where it connects, or last did: "host:port"; "" when that is not known yet.
const char *lt_redis_address(const struct lt_redis *r);

// Is there an address to connect to? Not before its name was resolved for the first time; until then commands wait.
bool lt_redis_has_address(const struct lt_redis *r);

// The answer to `locate`. Empty: nobody knows; that is a failed connection. False: it is not waited for (any more), nothing was done.
bool lt_redis_located(struct lt_redis *r, struct lt_span address);

// The server is another one now (a fail-over): at the end of the turn the connection ends, what waits is told LT_ERR_CLOSED, and
// the server is looked for again, without waiting for the end of a back-off.
void lt_redis_move(struct lt_redis *r);

// A number that the owner keeps beside the client; 0 at first.
uint64_t *lt_redis_note(struct lt_redis *r);
