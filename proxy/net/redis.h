// SPDX-License-Identifier: Apache-2.0
// A Redis client for one loop: one pipelined connection, flushed once a loop turn; a deadline a command; reconnection
// with back-off and jitter; a circuit breaker. hiredis is the codec (redisFormatCommandArgv, redisReader), the stream is ours.
#pragma once

#include "base/arena.h"
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
};

struct lt_redis_options {
    struct lt_span address;        // "host:port" or "unix:/path"
    struct lt_span user, password; // empty: none
    unsigned database;
    int64_t timeout; // ms a command, connecting included
};

// "redis://[user[:password]@]host[:port][/db]" or "redis+unix:///path[?db=0]". False: `error` says what to write.
// The spans point into `url`, but for the address and the decoded user and password, which are made in `arena`.
bool lt_redis_url(struct lt_span url, struct lt_arena *arena, struct lt_redis_options *o, const char **error);

// Connects when the first command comes, then keeps the connection. NULL: no memory.
struct lt_redis *lt_redis_new(struct lt_loop *loop, const struct lt_redis_options *o);

// Calls still under way are completed with LT_ERR_CANCELED.
void lt_redis_free(struct lt_redis *r);

// Queues one command. `call->done` must be set; `call` must not be busy. Fails (through `done`, at the end of the turn) at once
// while the breaker is open.
void lt_redis_send(struct lt_redis *r, struct lt_redis_call *call, const struct lt_span *args, unsigned n);

// The caller is no longer interested: `done` will not be called.
void lt_redis_cancel(struct lt_redis_call *call);

// Is the breaker open? From the first connection that failed until one is ready again; between two tries commands fail at once.
bool lt_redis_is_open(const struct lt_redis *r);
