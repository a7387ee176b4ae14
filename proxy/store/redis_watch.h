// SPDX-License-Identifier: Apache-2.0
// Looks once a minute, and at each new connection, whether Redis throws keys away when its memory is full: sessions would be
// lost. One store of the process does it for all.
#pragma once

#include "net/redis.h"
#include "store/store.h"

struct redis_watch {
    struct lt_store *store;
    // The i-th server; NULL: there are not so many.
    struct lt_redis *(*nth)(struct lt_store *s, unsigned i);
    // private
    unsigned turn;
    struct lt_redis *node;
    struct lt_redis_call call;
    struct lt_timer timer;
    int64_t looked;
    bool refused;    // INFO is not allowed: said once
    char policy[32]; // the last one that was warned of
};

void redis_watch_init(struct redis_watch *w, struct lt_store *s, struct lt_redis *(*nth)(struct lt_store *s, unsigned i));
// Before the clients are freed.
void redis_watch_fini(struct redis_watch *w);

// A connection has become ready.
void redis_watch_soon(struct redis_watch *w);
