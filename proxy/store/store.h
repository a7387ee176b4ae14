// SPDX-License-Identifier: Apache-2.0
// The store of sessions: a few operations on one sealed record, each of them atomic, completed exactly once, never from inside
// lt_store_submit(). A record is known by the keyed hash of a secret (a client's token, an application's session id).
//
//   record:  data, its absolute end, a number (fence or version) | a tombstone | nothing
//   lock:    its owner, until its lease ends; a record need not be there
#pragma once

#include "base/buf.h"
#include "base/metric.h"
#include "config/config.h"
#include "crypto/token.h"
#include "net/loop.h"

#include <stddef.h>

enum lt_store_result {
    LT_STORE_OK,
    LT_STORE_MISS,   // no such record
    LT_STORE_ENDED,  // a tombstone: it was logged out
    LT_STORE_BUSY,   // somebody else holds the lock
    LT_STORE_FENCED, // somebody else has taken over, or written: nothing was written
    LT_STORE_DOWN,   // the store did not answer in time, or not at all
};

enum lt_store_kind {
    LT_STORE_LOAD,   // reads, slides the idle limit, takes the lock when `lease` is set
    LT_STORE_CREATE, // writes a new record, locked when `lease` is set
    LT_STORE_SAVE, // writes (the absolute end never moves away), unless a newer `fence` was given out (without `lease`: unless anybody wrote since LOAD); gives the lock
                   // back when `release`
    LT_STORE_PUT,  // writes over whatever is there but a tombstone: for callers without a lock of ours. See `condition`
    LT_STORE_TOUCH,   // slides the idle limit, and no more
    LT_STORE_END,     // leaves a tombstone for `ttl`, whoever holds the lock; gives ours back
    LT_STORE_EXPIRE,  // brings the record's absolute end forward to `expires`
    LT_STORE_LOCK,    // takes the lock, record or not
    LT_STORE_RENEW,   // prolongs the lease
    LT_STORE_RELEASE, // gives the lock back if it is still the owner's
    LT_STORE_KINDS,
};

// What must hold for a PUT; else FENCED.
enum lt_store_condition {
    LT_STORE_ALWAYS,
    LT_STORE_IF_ABSENT,  // there is no record
    LT_STORE_IF_VERSION, // its number is `fence`
};

enum { LT_STORE_OWNER = 32, LT_STORE_DATA_MAX = 64 << 20, LT_STORE_PREFIX_MAX = 56, LT_STORE_DRIVER_ROOM = 320 };

struct lt_store;

struct lt_store_op {
    enum lt_store_kind kind;
    char hash[LT_TOKEN_HASH_TEXT + 1];
    char tag[LT_TOKEN_HASH_TEXT + 1]; // CREATE, SAVE, PUT: what an operator may look for (a keyed hash); "": stays as it is
    char owner[LT_STORE_OWNER + 1]; // of the lock: random, one an exchange. PUT: when set, only while it holds the lock; else BUSY
    int64_t lease;                  // ms; 0: without lock
    uint64_t fence; // SAVE: the one that LOAD or CREATE gave. After LOAD, CREATE, PUT: the record's number
    enum lt_store_condition condition;
    int64_t ttl;     // ms from now that the record may idle
    int64_t expires; // wall ms, the record's absolute end
    bool release;
    struct lt_buf data; // the sealed record, in or out; owned by the op
    enum lt_store_result result;
    void (*done)(struct lt_store_op *op);
    void *user;           // for `done`
    struct lt_task later; // for `done`, too
    // private
    struct lt_store *store;
    int64_t began;
    void (*gone)(void *user);
    _Alignas(max_align_t) unsigned char driver[LT_STORE_DRIVER_ROOM]; // the driver's own, while it runs
};

// What a store counts, in rows of the module that opens it: [M_FIRST] = LT_STORE_EVENT_ROWS("lethe_store_events_total") has this order.
enum lt_store_event {
    LT_STORE_BREAKER_OPENED,
    LT_STORE_BREAKER_CLOSED,
    LT_STORE_FULL,    // an operation failed because the store has no memory left
    LT_STORE_EVICTED, // keys that the store threw away to have memory
    LT_STORE_EVENTS,
};

#define LT_STORE_EVENT_ROW(name, event)                                                                                \
    { name, "What happened to the store of sessions.", LT_COUNTER, "event=\"" event "\"" }
#define LT_STORE_EVENT_ROWS(name)                                                                                      \
    LT_STORE_EVENT_ROW(name, "breaker_opened"), LT_STORE_EVENT_ROW(name, "breaker_closed"),                            \
        LT_STORE_EVENT_ROW(name, "full"), LT_STORE_EVENT_ROW(name, "evicted")

struct lt_store_options {
    struct lt_loop *loop;
    struct lt_span url;    // as in the option `store`, one that lt_store_check() has passed
    struct lt_span prefix; // begins every key: sets the applications of one store apart
    int64_t timeout;       // ms an operation, connecting included
    struct lt_metrics *metrics;
    unsigned seconds_row, breaker_row; // of `metrics`: a histogram of all operations' times; a gauge
    unsigned events_row;               // the first of LT_STORE_EVENTS counters; 0: none
    const struct lt_config *config;    // for a driver's own options; NULL: their defaults
};

// Is the record kept by the client itself (no store at all: "sealed", "jwt")? `url`: the option `store`.
bool lt_store_is_client_held(struct lt_span url);

// For state carriers, when the configuration is checked: why the configured store does not take their content, and what to write
// instead. NULL: it does.
const char *lt_store_refuses_content(const struct lt_config *config);

// NULL, or what to write instead.
const char *lt_store_check(struct lt_span url);

// Connects when the first operation comes. NULL: no memory.
struct lt_store *lt_store_new(const struct lt_store_options *o);
// Operations still under way are completed with DOWN.
void lt_store_free(struct lt_store *s);

// Did the last thing that the store was asked fail because it was away? The next operation may find it there again.
bool lt_store_is_away(const struct lt_store *s);

// NULL: no memory.
struct lt_store_op *lt_store_op_new(enum lt_store_kind kind);
void lt_store_op_free(struct lt_store_op *op);

// `op->done` must be set. The op may be submitted again from there.
void lt_store_submit(struct lt_store *s, struct lt_store_op *op);

// --- for an operator's tools, never on a request's path ---

struct lt_store_row {
    char hash[LT_TOKEN_HASH_TEXT + 1], tag[LT_TOKEN_HASH_TEXT + 1];
    int64_t ttl;     // ms that it may idle from now on
    int64_t expires; // wall ms, its absolute end; 0: a tombstone
    size_t size;     // of the sealed record; 0: a tombstone
    bool locked;
};

struct lt_store_scan {
    void (*found)(struct lt_store_scan *scan, const struct lt_store_row *row);
    void (*done)(struct lt_store_scan *scan, enum lt_store_result r); // OK: that was all; else DOWN
    struct lt_store *store;                                           // private
};

// Goes through all records of the store's prefix, each at least once. False: this kind of store cannot list what it has. Calls back
// from the loop; may call back at once.
bool lt_store_scan(struct lt_store *s, struct lt_store_scan *scan);

// Nobody waits for this operation any more, which is running or is about to be submitted: it goes on alone, a lock that it gets is
// given back, and then it is freed; behind that, at the end of a loop turn, `gone(user)` is called.
void lt_store_orphan(struct lt_store_op *op, void (*gone)(void *user), void *user);
