// SPDX-License-Identifier: Apache-2.0
#include "net/loop.h"

#include "base/clock.h"

#include <errno.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

static void on_alarm(evutil_socket_t fd, short what, void *arg);
static void on_wake(evutil_socket_t fd, short what, void *arg);

enum lt_err lt_loop_init(struct lt_loop *l) {
    memset(l, 0, sizeof *l);
    lt_list_init(&l->tasks);
    lt_list_init(&l->posted);
    for (unsigned i = 0; i < LT_WHEEL_SLOTS; i++)
        lt_list_init(&l->wheel[i]);
    l->tick = lt_clock_mono() / LT_WHEEL_TICK_MS;
    l->armed = INT64_MAX;
    pthread_mutex_init(&l->lock, NULL);
    l->wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    struct event_config *config = event_config_new();
    if (config) {
        event_config_set_flag(config, EVENT_BASE_FLAG_NOLOCK);
        l->base = event_base_new_with_config(config);
        event_config_free(config);
    }
    if (l->wake_fd < 0 || !l->base)
        goto fail;
    l->alarm = event_new(l->base, -1, 0, on_alarm, l);
    l->wake = event_new(l->base, l->wake_fd, EV_READ | EV_PERSIST, on_wake, l);
    if (!l->alarm || !l->wake || event_add(l->wake, NULL) != 0)
        goto fail;
    return LT_OK;
fail:
    lt_loop_fini(l);
    return LT_ERR_IO;
}

void lt_loop_fini(struct lt_loop *l) {
    if (l->alarm)
        event_free(l->alarm);
    if (l->wake)
        event_free(l->wake);
    if (l->base)
        event_base_free(l->base);
    if (l->wake_fd >= 0)
        close(l->wake_fd);
    pthread_mutex_destroy(&l->lock);
    l->base = NULL;
    l->alarm = l->wake = NULL;
    l->wake_fd = -1;
}

// The tasks that stand in the list now; what they defer runs after the next turn's events, which then do not wait.
static void run_tasks(struct lt_loop *l) {
    struct lt_list batch;
    lt_list_init(&batch);
    while (!lt_list_empty(&l->tasks)) {
        struct lt_list *node = l->tasks.next;
        lt_list_remove(node);
        lt_list_append(&batch, node);
    }
    while (!lt_list_empty(&batch)) {
        struct lt_list *node = batch.next;
        lt_list_remove(node);
        struct lt_task *task = LT_ENTRY(node, struct lt_task, node);
        task->run(task);
    }
}

void lt_loop_run(struct lt_loop *l) {
    while (!l->stopped) {
        lt_clock_turn();
        int flags = lt_list_empty(&l->tasks) ? EVLOOP_ONCE : EVLOOP_ONCE | EVLOOP_NONBLOCK;
        event_base_loop(l->base, flags);
        run_tasks(l);
    }
    lt_clock_turns_end();
    l->stopped = false; // it may be run again
}

void lt_loop_settle(struct lt_loop *l) {
    while (!lt_list_empty(&l->tasks))
        run_tasks(l);
}

void lt_loop_stop(struct lt_loop *l) {
    l->stopped = true;
}

void lt_timer_init(struct lt_timer *t, void (*fire)(struct lt_timer *t)) {
    *t = (struct lt_timer){.fire = fire};
    lt_list_init(&t->node);
}

static void arm(struct lt_loop *l, int64_t tick) {
    int64_t wait = tick * LT_WHEEL_TICK_MS - lt_clock_mono();
    if (wait < 0)
        wait = 0;
    struct timeval tv = {.tv_sec = wait / 1000, .tv_usec = wait % 1000 * 1000};
    evtimer_add(l->alarm, &tv);
    l->armed = tick;
}

// The first tick that begins at or after the deadline.
static int64_t tick_of(int64_t deadline) {
    return (deadline + LT_WHEEL_TICK_MS - 1) / LT_WHEEL_TICK_MS;
}

static void place(struct lt_loop *l, struct lt_timer *t) {
    int64_t tick = tick_of(t->deadline);
    if (tick <= l->tick)
        tick = l->tick + 1;
    t->tick = tick;
    lt_list_append(&l->wheel[(uint64_t)tick % LT_WHEEL_SLOTS], &t->node);
    if (tick < l->armed)
        arm(l, tick);
}

void lt_timer_set(struct lt_loop *l, struct lt_timer *t, int64_t ms) {
    bool stands = t->deadline != 0;
    if (l->timers == 0) // nobody kept the wheel turning: bring it to the present
        l->tick = lt_clock_mono() / LT_WHEEL_TICK_MS;
    t->deadline = lt_clock_mono() + (ms > 0 ? ms : 0);
    if (stands && t->tick <= tick_of(t->deadline))
        return;
    if (stands)
        lt_list_remove(&t->node);
    else
        l->timers++;
    place(l, t);
}

void lt_timer_clear(struct lt_loop *l, struct lt_timer *t) {
    if (t->deadline == 0)
        return;
    t->deadline = 0;
    lt_list_remove(&t->node);
    l->timers--;
}

static void visit(struct lt_loop *l, int64_t tick, int64_t now) {
    struct lt_list *slot = &l->wheel[(uint64_t)tick % LT_WHEEL_SLOTS], due;
    if (lt_list_empty(slot))
        return;
    lt_list_init(&due);
    for (struct lt_list *node = slot->next, *next; node != slot; node = next) {
        next = node->next;
        if (LT_ENTRY(node, struct lt_timer, node)->tick > tick)
            continue; // a later round of the wheel
        lt_list_remove(node);
        lt_list_append(&due, node);
    }
    while (!lt_list_empty(&due)) {
        struct lt_list *node = due.next;
        struct lt_timer *t = LT_ENTRY(node, struct lt_timer, node);
        lt_list_remove(node);
        if (t->deadline > now) {
            place(l, t); // it was moved later while it stood here
        } else {
            t->deadline = 0;
            l->timers--;
            t->fire(t);
        }
    }
}

// The next position that holds a timer of this round; a round later at the most, where later ones are looked at again.
static int64_t next_tick(struct lt_loop *l) {
    for (int64_t tick = l->tick + 1; tick < l->tick + LT_WHEEL_SLOTS; tick++)
        if (!lt_list_empty(&l->wheel[(uint64_t)tick % LT_WHEEL_SLOTS]))
            return tick;
    return l->tick + LT_WHEEL_SLOTS;
}

static void on_alarm(evutil_socket_t fd, short what, void *arg) {
    (void)fd;
    (void)what;
    struct lt_loop *l = arg;
    int64_t now = lt_clock_mono(), until = now / LT_WHEEL_TICK_MS;
    if (until - l->tick > LT_WHEEL_SLOTS) // a long stop: one round visits every slot
        l->tick = until - LT_WHEEL_SLOTS;
    l->armed = 0; // place() must not arm while we walk
    while (l->tick < until) {
        l->tick++;
        visit(l, l->tick, now);
    }
    l->armed = INT64_MAX;
    if (l->timers)
        arm(l, next_tick(l));
}

void lt_task_init(struct lt_task *t, void (*run)(struct lt_task *t)) {
    t->run = run;
    lt_list_init(&t->node);
}

void lt_loop_defer(struct lt_loop *l, struct lt_task *t) {
    if (lt_list_empty(&t->node))
        lt_list_append(&l->tasks, &t->node);
}

void lt_task_cancel(struct lt_task *t) {
    lt_list_remove(&t->node);
}

void lt_loop_post(struct lt_loop *l, struct lt_task *t) {
    pthread_mutex_lock(&l->lock);
    lt_list_append(&l->posted, &t->node);
    pthread_mutex_unlock(&l->lock);
    uint64_t one = 1;
    if (write(l->wake_fd, &one, sizeof one) < 0 && errno != EAGAIN)
        return; // the counter is full: the loop is awake already
}

static void on_wake(evutil_socket_t fd, short what, void *arg) {
    (void)what;
    struct lt_loop *l = arg;
    uint64_t count;
    if (read(fd, &count, sizeof count) < 0)
        return;
    pthread_mutex_lock(&l->lock);
    while (!lt_list_empty(&l->posted)) {
        struct lt_list *node = l->posted.next;
        lt_list_remove(node);
        lt_list_append(&l->tasks, node);
    }
    pthread_mutex_unlock(&l->lock);
}
