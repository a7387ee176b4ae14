// SPDX-License-Identifier: Apache-2.0
// What redis.c (the connection's life), redis_greet.c (its first words) and redis_queue.c (commands and answers) share.
#pragma once

#include "net/redis.h"

#include <hiredis/hiredis.h>

enum lt_redis_state {
    LT_REDIS_IDLE,
    LT_REDIS_LOCATING,
    LT_REDIS_CONNECTING,
    LT_REDIS_GREETING,
    LT_REDIS_SERVING,
    LT_REDIS_BACKOFF
};

enum { LT_REDIS_OUT_MAX = 64 << 20, LT_REDIS_GREETINGS = 4 };

// What the answer to each command of the greeting has to be.
enum lt_redis_greeting { LT_REDIS_ANY, LT_REDIS_AUTH, LT_REDIS_ROLE };

struct lt_redis_waiting {
    struct lt_redis_call *call; // NULL: canceled or ours, the answer is passed over
    int64_t deadline;
};

struct lt_redis {
    struct lt_loop *loop;
    enum lt_redis_state state;
    struct lt_stream stream;
    redisReader *reader;
    struct lt_buf queued;          // commands formatted in this turn, or while not SERVING
    struct lt_redis_waiting *ring; // answered in this order
    unsigned head, n, cap;         // cap: a power of two
    enum lt_redis_greeting greetings[LT_REDIS_GREETINGS];
    unsigned greeting, n_greetings; // the next one to be answered, of how many
    struct lt_timer timer;          // oldest deadline, or the end of BACKOFF
    struct lt_timer again;          // LOCATING: the next look for an address of a name that has none yet
    struct lt_task flush, refuse, move;
    struct lt_list refused;
    unsigned failures; // connections in a row that came to nothing: the breaker is open
    unsigned patience; // the same, until a command (not only a greeting) was answered: the back-off
    unsigned seed, turn;
    uint64_t note;
    struct lt_target *target;        // NULL: not known yet
    struct lt_redis_options options; // texts are copies
    char *texts;
};

// --- redis.c ---

// Moves the one timer to what is due next.
void lt_redis_watch(struct lt_redis *r);

// The connection is good.
void lt_redis_serve(struct lt_redis *r);

// --- redis_greet.c ---

// Writes AUTH, SELECT, ROLE as far as they are asked for, and PING: only an answered one proves that somebody is there.
enum lt_err lt_redis_greet(struct lt_redis *r);

// One answer to the greeting; the last one makes the client serve. False: nothing can be done on this connection.
bool lt_redis_greeted(struct lt_redis *r, const redisReply *reply);

// --- redis_queue.c ---

bool lt_redis_format(struct lt_buf *out, const struct lt_span *args, unsigned n);
struct lt_redis_waiting *lt_redis_oldest(struct lt_redis *r);
// Takes the oldest command off. NULL: nobody waits for its answer.
struct lt_redis_call *lt_redis_take(struct lt_redis *r);
// Ends everything that waits for an answer. A callback may send again: that stands behind.
void lt_redis_fail_all(struct lt_redis *r, enum lt_err e);
void lt_redis_on_refuse(struct lt_task *t);
