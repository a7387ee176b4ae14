// SPDX-License-Identifier: Apache-2.0
#include "drain.h"

#include "base/clock.h"
#include "notify.h"
#include "process.h"

enum { CUT_MS = 1000 }; // for the store to take the locks back

static struct {
    enum lt_drain_phase phase;
    int64_t limit, quiet;              // as configured
    int64_t began, quiet_until, until; // `quiet_until`: also if requests still come
    bool handed_over;
    atomic_bool seen;
} drain;

void lt_drain_setup(const struct lt_timeouts_conf *t) {
    drain.limit = t->drain;
    drain.quiet = t->drain_quiet;
}

static void ask_workers(enum lt_worker_phase phase) {
    unsigned n;
    struct lt_worker *workers = lt_process_workers(&n);
    for (unsigned i = 0; i < n; i++)
        lt_worker_ask(&workers[i], phase);
}

static void begin(void) {
    int64_t now = lt_clock_mono();
    drain.phase = LT_DRAIN_QUIET;
    drain.began = now;
    drain.quiet_until = now + drain.limit / 2; // the other half is for what runs then
    drain.until = now + drain.limit;
    LT_LOG(LT_LOG_INFO, "draining", lt_fn("limit_ms", drain.limit), lt_fn("quiet_ms", drain.quiet));
}

void lt_drain_begin(bool at_once) {
    if (drain.phase == LT_DRAIN_NOT) {
        lt_notify_stopping(drain.limit);
        atomic_store(&drain.seen, true);
        begin();
        ask_workers(LT_WORKER_DRAINS);
    }
    if (at_once)
        drain.quiet_until = 0;
}

void lt_drain_hand_over(void) {
    unsigned n, n_sides;
    struct lt_worker *workers = lt_process_workers(&n), *sides = lt_process_sides(&n_sides);
    begin();
    drain.handed_over = true;
    for (unsigned i = 0; i < n; i++)
        lt_worker_leave(&workers[i]);
    for (unsigned i = 0; i < n_sides; i++)
        lt_worker_leave(&sides[i]);
}

// When it is quiet, if no other request comes.
static int64_t quiet_at(void) {
    unsigned n;
    struct lt_worker *workers = lt_process_workers(&n);
    int64_t last = drain.began;
    for (unsigned i = 0; i < n; i++) {
        int64_t at = atomic_load(&workers[i].last_request);
        last = at > last ? at : last;
    }
    last += drain.quiet;
    return last < drain.quiet_until ? last : drain.quiet_until;
}

bool lt_drain_step(void) {
    int64_t now = lt_clock_mono();
    if (drain.phase == LT_DRAIN_QUIET && now >= quiet_at()) {
        drain.phase = LT_DRAIN_CLOSING;
        LT_LOG(LT_LOG_INFO, "closing", lt_fn("after_ms", now - drain.began));
        ask_workers(LT_WORKER_CLOSES);
    }
    if (drain.phase == LT_DRAIN_CLOSING && now >= drain.until) {
        drain.phase = LT_DRAIN_CUT;
        drain.until = now + CUT_MS;
        LT_LOG(LT_LOG_WARN, "forced_end", lt_fs("why", "timeouts.drain"));
        ask_workers(LT_WORKER_CUTS);
    }
    return drain.phase != LT_DRAIN_CUT || now < drain.until;
}

int64_t lt_drain_patience(void) {
    if (drain.phase == LT_DRAIN_NOT)
        return -1;
    int64_t left = (drain.phase == LT_DRAIN_QUIET ? quiet_at() : drain.until) - lt_clock_mono();
    return left > 0 ? left : 0;
}

enum lt_drain_phase lt_drain_phase(void) {
    return drain.phase;
}

bool lt_drain_is_handed_over(void) {
    return drain.handed_over;
}

bool lt_drain_is_seen(void) {
    return atomic_load(&drain.seen);
}
