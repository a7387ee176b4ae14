// SPDX-License-Identifier: Apache-2.0
// Connections to the application: the pool that lends them, one worker's own.
#pragma once

#include "inbox.h"
#include "worker.h"

struct lt_upstream {
    struct lt_stream stream;
    struct lt_list node; // among the idle ones
    struct lt_upstream_pool *pool;
    struct lt_exchange *x;         // NULL: idle or connecting
    struct lt_upstream_wish *wish; // connecting: for whom
    struct lt_inbox in;
    struct lt_timer timer; // idle: how long it is kept
    bool reused;           // it carried an exchange before
};

// A request's wish for a connection; embedded in the exchange.
struct lt_upstream_wish {
    struct lt_list node;
    struct lt_timer timer; // the end of patience (timeouts.upstream_connect)
    struct lt_timer again; // the pause before another try
    struct lt_upstream *connecting;
    unsigned turn, tried; // the next address; how many have failed
    bool active;
    enum lt_err last; // why the last try failed
    // Called once, from the loop: `u` with LT_OK, or NULL with what went wrong.
    void (*done)(struct lt_upstream_wish *wish, struct lt_upstream *u, enum lt_err e);
};

struct lt_upstream_pool *lt_pool_new(struct lt_worker *w, const struct lt_core_conf *conf, unsigned max);
// All idle connections are closed; lent ones must have come back.
void lt_pool_free(struct lt_upstream_pool *p);

// An idle connection that looks alive, or NULL. Its `x` is for the caller to set.
struct lt_upstream *lt_pool_take(struct lt_upstream_pool *p);

// Connects a new one; wish->done is called later, never from inside.
void lt_pool_connect(struct lt_upstream_pool *p, struct lt_upstream_wish *wish);

// Takes the wish back; `done` will not be called.
void lt_pool_cancel(struct lt_upstream_pool *p, struct lt_upstream_wish *wish);

// The exchange is done with it. `keep`: it can carry another request.
void lt_upstream_release(struct lt_upstream *u, bool keep);
