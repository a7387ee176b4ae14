// SPDX-License-Identifier: Apache-2.0
// A worker: one thread, one loop, its listeners, its connections, its counters. Nothing writable is shared with the others.
#pragma once

#include "base/clock.h"
#include "conf.h"
#include "inbox.h"
#include "module.h"

#include <stdatomic.h>

// A loaded configuration, shared by all workers and counted; the last put frees it.
struct lt_snapshot {
    atomic_uint references;
    unsigned serial; // of reloads: 0 is the configuration of the start
    struct lt_config config;
    struct lt_core_conf core;
    const struct lt_module *const *modules; // NULL-terminated, in pipeline order
    unsigned n_modules;
};

struct lt_snapshot *lt_snapshot_ref(struct lt_snapshot *s);
void lt_snapshot_put(struct lt_snapshot *s);

// One module as one worker runs it under one configuration.
struct lt_instance {
    const struct lt_module *module;
    const void *conf;
    void *worker;
    struct lt_metrics *metrics;
    struct lt_services services; // as given to worker_init; lives as long
};

// A worker's side of a configuration: a reload makes a new one, running exchanges keep theirs.
struct lt_generation {
    unsigned references;
    struct lt_snapshot *snapshot;
    struct lt_worker *worker;
    struct lt_instance *instances; // only the modules in use, in request order
    unsigned n;
    struct lt_upstream_pool *pool; // PROXY only
};

// A running exchange, or a module's detached work, holds its generation; the last put frees it.
void lt_generation_get(struct lt_generation *g);
void lt_generation_put(struct lt_generation *g);

// The core's own counters.
enum lt_core_metric {
    LT_M_OK,
    LT_M_LOCAL,
    LT_M_REJECTED,
    LT_M_UPSTREAM_FAILED,
    LT_M_STORE_FAILED,
    LT_M_ABORTED,
    LT_M_REQUEST_SECONDS,
    LT_M_CLIENTS,
    LT_M_UPSTREAM_ACTIVE,
    LT_M_UPSTREAM_IDLE,
    LT_M_BUFFERS,
    LT_M_UPSTREAM_RETRIES,
    LT_M_TLS_FULL,
    LT_M_TLS_RESUMED,
    LT_M_TLS_FAILED, // also those that took too long
    LT_M_REJECTS,    // + enum lt_h1_reason, then the reasons of our own below
    LT_M_CORE_COUNT = LT_M_REJECTS + LT_H1_REASONS + 5,
};
enum {
    LT_REJECT_METHOD = LT_H1_REASONS,
    LT_REJECT_HEAD_TIMEOUT,
    LT_REJECT_CONNECTIONS,
    LT_REJECT_PROXY_HEADER,
    LT_REJECT_FLOOD
};

// How far the worker's end has come; it only rises.
enum lt_worker_phase {
    LT_WORKER_SERVES,
    LT_WORKER_DRAINS, // goes on serving, each answer ends its connection
    LT_WORKER_CLOSES, // it is quiet, or time: the listeners are closed, idle connections end, and the loop once nothing is left
    LT_WORKER_CUTS,  // the drain's time is up: what still runs is broken off; modules give back their locks
    LT_WORKER_STOPS, // the loop ends, whatever it does
};

struct lt_worker {
    struct lt_loop loop;
    unsigned index;
    enum lt_role role;
    const struct lt_module *own; // LT_ROLE_OWN: the module it serves
    pthread_t thread;
    struct lt_generation *generation; // the current one
    struct lt_block_pool blocks;      // connections' input
    struct lt_block_pool exchanges;   // an exchange and the beginning of its arena
    struct lt_buf scratch;            // heads being written; empty between calls
    struct lt_list clients;
    unsigned n_clients;
    unsigned users; // references to generations beyond the worker's own
    struct lt_list listeners;
    unsigned n_events; // streams of events under way
    enum lt_worker_phase phase;
    _Atomic int64_t last_request; // lt_clock_mono() of the last one that went to the application; kept only while draining
    struct lt_timer heartbeat;
    _Atomic int64_t beat; // lt_clock_mono() of the last heartbeat
    struct lt_metrics core_metrics;
    struct lt_metrics *module_metrics; // parallel to snapshot->modules
    unsigned n_modules;
    struct lt_buf access; // access log lines of this turn
    struct lt_task access_flush;
    uint64_t id_prefix, id_count;       // request ids
    struct lt_task apply;               // posted by the main thread: what it asks for
    _Atomic(struct lt_snapshot *) next; // the configuration to take over, or NULL
    atomic_uint asked;                  // the phase to go on to
    atomic_bool leave_asked, apply_posted;
    atomic_uint serial, refused; // of the last snapshot that it took over, or could not
};

// Makes the worker and its first generation: module instances, pool. False: logged.
// `own`: of LT_ROLE_OWN, else NULL.
bool lt_worker_init(struct lt_worker *w, struct lt_snapshot *s, unsigned index, enum lt_role role,
                    const struct lt_module *own);
// After the thread has ended (or was never started).
void lt_worker_fini(struct lt_worker *w);
// Starts the thread, which runs until it has drained or is asked to stop.
bool lt_worker_start(struct lt_worker *w);

// From the main thread.
// Takes over a configuration (a reference is handed over).
void lt_worker_reload(struct lt_worker *w, struct lt_snapshot *s);
// Goes on to this phase, through those before it (but to STOPS at once); never back.
void lt_worker_ask(struct lt_worker *w, enum lt_worker_phase phase);
// It drains, and another process has the listening sockets from now on.
void lt_worker_leave(struct lt_worker *w);

static inline bool lt_worker_drains(const struct lt_worker *w) {
    return w->phase >= LT_WORKER_DRAINS;
}

static inline bool lt_worker_closes(const struct lt_worker *w) {
    return w->phase >= LT_WORKER_CLOSES;
}

static inline void lt_worker_count(struct lt_worker *w, unsigned metric, int64_t delta) {
    lt_metric_add(&w->core_metrics, metric, delta);
}

// A request goes to the application: the drain is not quiet yet.
static inline void lt_worker_note_request(struct lt_worker *w) {
    if (lt_worker_drains(w))
        atomic_store(&w->last_request, lt_clock_mono());
}

extern const struct lt_metric lt_core_metrics[LT_M_CORE_COUNT];

// Ends the loop of a draining worker that has neither clients nor users left. Called when one went.
void lt_worker_check_drained(struct lt_worker *w);
