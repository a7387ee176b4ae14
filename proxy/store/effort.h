// SPDX-License-Identifier: Apache-2.0
// What drivers of servers on a network have in common: an operation is tried again while somebody can wait for it, and it ends when its
// time is over, whatever the server does.
#pragma once

#include "store/driver.h"

#include "base/err.h"

struct lt_store_effort;

struct lt_store_effort_ops {
    // One try, from its beginning.
    void (*begin)(struct lt_store_effort *e);
    // Takes back the try that is under way. False: it cannot, and will end by itself.
    bool (*cancel)(struct lt_store_effort *e);
};

// Embedded in what the driver keeps in op->driver.
struct lt_store_effort {
    const struct lt_store_effort_ops *ops;
    struct lt_store_op *op;
    struct lt_timer timer; // the end of a rest, or of the operation's time
    int64_t ends;          // monotonic ms
    unsigned lost;         // connections
    bool rests;
};

// Begins the first try. `e` is zero.
void lt_store_effort_begin(struct lt_store_effort *e, struct lt_store_op *op, const struct lt_store_effort_ops *ops);

// The try got no answer, because of `why`: another one, now or in a while, or the operation is over with DOWN.
void lt_store_effort_failed(struct lt_store_effort *e, enum lt_err why);

// The operation is over: lt_store_finish().
void lt_store_effort_end(struct lt_store_effort *e, enum lt_store_result result);

// For clients' on_breaker; `store`: a struct lt_store.
void lt_store_effort_on_breaker(void *store, bool opened);

// Is there time for one more step of a try?
bool lt_store_effort_has_time(const struct lt_store_effort *e);
