// SPDX-License-Identifier: Apache-2.0
// A client of memcached's meta protocol (1.6) for one loop: one pipelined connection, flushed once a loop turn; see net/link.h for
// deadlines, back-off and breaker. https://docs.memcached.org/protocols/meta/
#pragma once

#include "base/span.h"
#include "net/link.h"

#include <stdint.h>

enum lt_memcached_word {
    LT_MEMCACHED_VA, // a value
    LT_MEMCACHED_HD, // done, or there
    LT_MEMCACHED_EN, // not there (mg)
    LT_MEMCACHED_NF, // not there (ms with CAS, md)
    LT_MEMCACHED_NS, // there already (ms ME)
    LT_MEMCACHED_EX, // changed in between (CAS)
    LT_MEMCACHED_MN, // of mn
    LT_MEMCACHED_STAT,
    LT_MEMCACHED_END,
    LT_MEMCACHED_ERROR, // ERROR, CLIENT_ERROR, SERVER_ERROR: `line` says it
};

struct lt_memcached_answer {
    enum lt_memcached_word word;
    struct lt_span line; // without its end
    struct lt_span data; // of VA
    uint64_t cas;        // flag c, or 0
    int64_t left;        // flag t: seconds to live; -1 for ever, or not asked for
};

// The first answer of `in`. LT_OK: *used bytes of it, 0 when it is not whole yet. LT_ERR_PROTOCOL: memcached says no such thing.
// LT_ERR_LIMIT: a value larger than `max`.
enum lt_err lt_memcached_parse(struct lt_span in, size_t max, struct lt_memcached_answer *a, size_t *used)
    __attribute__((warn_unused_result));

// One or two commands on their way that belong together, embedded in whatever waits for them.
struct lt_memcached_call {
    struct lt_link_call link;
    unsigned commands, answered;
    enum lt_memcached_word first; // of two commands: how the first one was answered
    // Called exactly once, from the loop and never from inside lt_memcached_send(). `a`: the (last) command's answer, valid during
    // the call only; NULL with `e` set when there is none. The call may be sent again from here.
    void (*done)(struct lt_memcached_call *c, enum lt_err e, const struct lt_memcached_answer *a);
};

struct lt_memcached;

// `address`: "host:port" or "unix:/path"; `timeout`: ms a command, connecting included; `value_max`: the largest value that may come.
// Connects when the first command comes, then keeps the connection. NULL: no memory.
struct lt_memcached *lt_memcached_new(struct lt_loop *loop, struct lt_span address, int64_t timeout, size_t value_max);

// Calls still under way are completed with LT_ERR_CANCELED.
void lt_memcached_free(struct lt_memcached *m);

// Queues `call->commands` commands, whose bytes are the pieces one behind the other. `done` must be set.
void lt_memcached_send(struct lt_memcached *m, struct lt_memcached_call *call, const struct lt_span *pieces, unsigned n);

// Nobody waits for this call any more: `done` will not be called. False: no memory; then it will.
bool lt_memcached_cancel(struct lt_memcached *m, struct lt_memcached_call *call);

// The largest item that the server takes (its option -I), key and all. 0: not connected yet.
size_t lt_memcached_item_max(const struct lt_memcached *m);

bool lt_memcached_is_open(const struct lt_memcached *m);

// Whom to tell, from the loop, that the breaker has opened or closed.
void lt_memcached_on_breaker(struct lt_memcached *m, void (*on_breaker)(void *user, bool opened), void *user);
