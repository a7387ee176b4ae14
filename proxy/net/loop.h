// SPDX-License-Identifier: Apache-2.0
// One thread's event loop: libevent for descriptors, a timer wheel behind one libevent timer, and tasks that run
// at the end of the turn. Everything here is called from the loop's own thread, but lt_loop_post().
#pragma once

#include "base/err.h"
#include "base/list.h"

#include <event2/event.h>
#include <event2/event_struct.h>
#include <pthread.h>
#include <stdint.h>

enum { LT_WHEEL_TICK_MS = 10, LT_WHEEL_SLOTS = 1024 };

// A deadline, embedded in whatever waits. Moving it later costs one store: the wheel finds out when it gets there.
struct lt_timer {
    struct lt_list node;
    int64_t deadline; // monotonic ms; 0: not set
    int64_t tick;     // the wheel position in which the node stands
    void (*fire)(struct lt_timer *t);
};

// Work for the end of this loop turn; embedded as well. Runs once per lt_loop_defer().
struct lt_task {
    struct lt_list node;
    void (*run)(struct lt_task *t);
};

struct lt_loop {
    struct event_base *base;
    struct lt_list wheel[LT_WHEEL_SLOTS];
    unsigned timers; // nodes in the wheel
    int64_t tick;    // the last wheel position that was visited
    int64_t armed;   // the position that the libevent timer waits for; INT64_MAX: none
    struct event *alarm;
    struct lt_list tasks;
    struct event *wake; // eventfd for lt_loop_post
    int wake_fd;
    pthread_mutex_t lock; // guards `posted`
    struct lt_list posted;
    struct lt_pipe *pipes; // kept by net/pipe.c
    unsigned n_pipes;
    bool stopped;
};

enum lt_err lt_loop_init(struct lt_loop *l) __attribute__((warn_unused_result));
void lt_loop_fini(struct lt_loop *l);

// Runs until lt_loop_stop().
void lt_loop_run(struct lt_loop *l);
void lt_loop_stop(struct lt_loop *l);

// After the loop has ended: runs what was deferred, so that what closes itself at the end of a turn is freed.
void lt_loop_settle(struct lt_loop *l);

// `fire` names what happens; the timer is not set yet.
void lt_timer_init(struct lt_timer *t, void (*fire)(struct lt_timer *t));

// (Re)sets the deadline to `ms` from now; fires once, up to a tick late, never early.
void lt_timer_set(struct lt_loop *l, struct lt_timer *t, int64_t ms);
void lt_timer_clear(struct lt_loop *l, struct lt_timer *t);

static inline bool lt_timer_is_set(const struct lt_timer *t) {
    return t->deadline != 0;
}

void lt_task_init(struct lt_task *t, void (*run)(struct lt_task *t));

// Runs `t` after the events of this turn; asking twice before it ran is the same as once.
void lt_loop_defer(struct lt_loop *l, struct lt_task *t);
// Takes it back, if it has not run.
void lt_task_cancel(struct lt_task *t);

// From any thread: `t` runs on the loop's thread. `t` must not be posted again before it ran.
void lt_loop_post(struct lt_loop *l, struct lt_task *t);
