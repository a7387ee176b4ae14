// SPDX-License-Identifier: Apache-2.0
// What a kind of store implements. One folder entry, one constant descriptor, one line in store.c.
#pragma once

#include "store/store.h"

struct lt_store_driver {
    const char *scheme; // of the URL: "redis://"
    // NULL, or what to write instead.
    const char *(*check)(struct lt_span url);
    // A store whose first member is a struct lt_store, which the caller fills in. NULL: no memory.
    struct lt_store *(*open)(const struct lt_store_options *o);
    void (*close)(struct lt_store *s);
    // Runs one operation and ends it with lt_store_finish(), exactly once, never from inside.
    void (*submit)(struct lt_store *s, struct lt_store_op *op);
    bool (*breaker_is_open)(const struct lt_store *s);
    void (*scan)(struct lt_store *s, struct lt_store_scan *scan); // NULL: it cannot list what it has
};

struct lt_store {
    const struct lt_store_driver *driver;
    struct lt_loop *loop;
    int64_t timeout;
    struct lt_metrics *metrics;
    unsigned seconds_row, breaker_row, events_row;
    char prefix[LT_STORE_PREFIX_MAX + 1];
};

// For the counters of the options' `events_row`.
void lt_store_count(struct lt_store *s, enum lt_store_event e, uint64_t n);

// The breaker has opened, or closed: counts it, and sets the gauge by what breaker_is_open() says now.
void lt_store_breaker(struct lt_store *s, bool opened);

// op->result is set: counts the time and tells the caller.
void lt_store_finish(struct lt_store_op *op);

extern const struct lt_store_driver lt_store_redis, lt_store_memcached, lt_store_postgres;
