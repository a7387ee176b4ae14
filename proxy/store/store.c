// SPDX-License-Identifier: Apache-2.0
#include "store/driver.h"

#include "base/clock.h"

#include <stdio.h>
#include <stdlib.h>

static const struct lt_store_driver *const drivers[] = {&lt_store_redis, &lt_store_memcached, &lt_store_postgres, NULL};

static const struct lt_store_driver *driver_of(struct lt_span url) {
    for (const struct lt_store_driver *const *d = drivers; *d; d++)
        if (lt_span_starts(url, lt_span_cstr((*d)->scheme)))
            return *d;
    return NULL;
}

bool lt_store_is_client_held(struct lt_span url) {
    return url.n == 0 || lt_span_eq(url, LT_S("sealed")) || lt_span_eq(url, LT_S("jwt"));
}

const char *lt_store_refuses_content(const struct lt_config *config) {
    if (lt_store_is_client_held(lt_config_text(config, "store")))
        return "session content does not fit into the client's cookie; write \"--store redis://host:port/0\"";
    if (lt_config_number(config, "session.on_outage") != 0)
        return "a session's content cannot be had while the store is away, and an application that runs without it "
               "throws the "
               "session away; write session.on_outage = \"reject\"";
    return NULL;
}

const char *lt_store_check(struct lt_span url) {
    const struct lt_store_driver *driver = driver_of(url);
    if (lt_store_is_client_held(url))
        return NULL;
    return driver ? driver->check(url)
                  : "write \"redis://host:6379/0\" (\"rediss://\" with TLS), \"redis+unix:///path?db=0\", "
                    "\"postgres://user:password@host/database\", \"memcached://host:11211\", or \"sealed\" or \"jwt\" "
                    "for a cookie";
}

struct lt_store *lt_store_new(const struct lt_store_options *o) {
    const struct lt_store_driver *driver = driver_of(o->url);
    struct lt_store *s = driver ? driver->open(o) : NULL;
    if (!s)
        return NULL;
    s->driver = driver;
    s->loop = o->loop;
    s->timeout = o->timeout;
    s->metrics = o->metrics;
    s->seconds_row = o->seconds_row;
    s->breaker_row = o->breaker_row;
    s->events_row = o->events_row;
    snprintf(s->prefix, sizeof s->prefix, "%.*s", (int)o->prefix.n, o->prefix.p);
    return s;
}

void lt_store_free(struct lt_store *s) {
    if (s)
        s->driver->close(s);
}

bool lt_store_is_away(const struct lt_store *s) {
    return s->driver->breaker_is_open(s);
}

struct lt_store_op *lt_store_op_new(enum lt_store_kind kind) {
    struct lt_store_op *op = calloc(1, sizeof *op);
    if (!op)
        return NULL;
    op->kind = kind;
    lt_buf_init(&op->data, LT_STORE_DATA_MAX);
    return op;
}

void lt_store_op_free(struct lt_store_op *op) {
    if (!op)
        return;
    lt_buf_fini(&op->data);
    free(op);
}

void lt_store_submit(struct lt_store *s, struct lt_store_op *op) {
    op->store = s;
    op->began = lt_clock_mono();
    s->driver->submit(s, op);
}

void lt_store_count(struct lt_store *s, enum lt_store_event e, uint64_t n) {
    if (s->events_row)
        lt_metric_add(s->metrics, s->events_row + e, (int64_t)n);
}

void lt_store_breaker(struct lt_store *s, bool opened) {
    lt_store_count(s, opened ? LT_STORE_BREAKER_OPENED : LT_STORE_BREAKER_CLOSED, 1);
    lt_metric_set(s->metrics, s->breaker_row, s->driver->breaker_is_open(s));
}

void lt_store_finish(struct lt_store_op *op) {
    struct lt_store *s = op->store;
    lt_metric_observe(s->metrics, s->seconds_row, (uint64_t)(lt_clock_mono() - op->began) * 1000);
    lt_metric_set(s->metrics, s->breaker_row, s->driver->breaker_is_open(s));
    op->done(op);
}

bool lt_store_scan(struct lt_store *s, struct lt_store_scan *scan) {
    scan->store = s;
    if (s->driver->scan)
        s->driver->scan(s, scan);
    return s->driver->scan != NULL;
}

// --- alone ---

static void on_gone(struct lt_task *t) {
    struct lt_store_op *op = LT_ENTRY(t, struct lt_store_op, later);
    void (*gone)(void *) = op->gone;
    void *user = op->user;
    lt_store_op_free(op);
    gone(user);
}

static bool has_locked(const struct lt_store_op *op) {
    bool locks = op->kind == LT_STORE_LOCK || op->kind == LT_STORE_LOAD || op->kind == LT_STORE_CREATE;
    return locks && op->lease && op->result != LT_STORE_BUSY;
}

static void on_alone(struct lt_store_op *op) {
    if (has_locked(op)) {
        op->kind = LT_STORE_RELEASE;
        lt_store_submit(op->store, op);
        return;
    }
    lt_task_init(&op->later, on_gone);
    lt_loop_defer(op->store->loop, &op->later); // whoever is gone may free the store, which is calling us
}

void lt_store_orphan(struct lt_store_op *op, void (*gone)(void *user), void *user) {
    op->gone = gone;
    op->user = user;
    op->done = on_alone;
}
