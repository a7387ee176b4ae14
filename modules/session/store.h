// SPDX-License-Identifier: Apache-2.0
// The store of sessions, seen from the session module: a few operations on one sealed record, each of them atomic, completed
// exactly once, never from inside store_submit().
#pragma once

#include "crypto/token.h"
#include "module.h"
#include "net/redis.h"

enum store_result {
    STORE_OK,
    STORE_MISS,   // no such record
    STORE_ENDED,  // a tombstone: it was logged out
    STORE_BUSY,   // another exchange holds the lock
    STORE_FENCED, // somebody else has taken over, or written: nothing was written
    STORE_DOWN,   // the store did not answer in time, or not at all
};

enum store_kind {
    STORE_LOAD,   // reads, slides the idle limit, takes the lock when `lease` is set
    STORE_CREATE, // writes a new record, locked when `lease` is set
    STORE_SAVE, // writes, unless a newer `fence` was given out (without `lease`: unless anybody wrote since LOAD); gives the lock
                // back when `release`
    STORE_END,     // leaves a tombstone for `ttl`, whoever holds the lock; gives ours back
    STORE_EXPIRE,  // brings the record's absolute end forward to `expires`
    STORE_RENEW,   // prolongs the lease
    STORE_RELEASE, // gives the lock back if it is still the owner's
    STORE_KINDS,
};

struct store_op {
    enum store_kind kind;
    char hash[LT_TOKEN_HASH_TEXT + 1];
    char owner[33];  // of the lock: random, one an exchange
    int64_t lease;   // ms; 0: without lock
    uint64_t fence;  // SAVE: the one that LOAD or CREATE gave
    int64_t ttl;     // ms from now that the record may idle
    int64_t expires; // wall ms, the record's absolute end
    bool release;
    struct lt_buf data; // the sealed record, in or out; owned by the op
    enum store_result result;
    void (*done)(struct store_op *op);
    void *user;           // for `done`
    struct lt_task later; // for `done`, too
    // private to the store
    struct lt_redis_call call;
    struct lt_timer again;
    struct store *store;
    int64_t began;
    unsigned tries;
    bool whole_script;
};

struct store;

enum { STORE_DATA_MAX = 64 << 20 };

struct store_op *store_op_new(enum store_kind kind);
void store_op_free(struct store_op *op);

// `url` as in the option `store`. `seconds`: the histogram row of `metrics` that is told each operation's time.
struct store *store_redis_new(const struct lt_services *s, struct lt_span url, int64_t timeout, struct lt_span prefix,
                              unsigned seconds_row, unsigned breaker_row);
void store_free(struct store *s);
void store_submit(struct store *s, struct store_op *op);
