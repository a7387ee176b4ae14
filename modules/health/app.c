// SPDX-License-Identifier: Apache-2.0
#include "modules/health/app.h"

#include "base/clock.h"

// An orchestrator's probe waits for one second by default: ours must have ended before.
enum { CONNECT_MS = 800, FRESH_MS = 1000 };

static void end(struct app_check *a) {
    lt_timer_clear(a->loop, &a->timer);
    if (a->connecting)
        lt_stream_close(&a->stream);
    a->connecting = false;
}

static void found_out(struct app_check *a, bool ok) {
    end(a);
    a->ok = ok;
    a->at = lt_clock_mono();
}

static void tell_all(struct app_check *a) {
    while (!lt_list_empty(&a->waiting)) {
        struct lt_list *node = a->waiting.next;
        lt_list_remove(node);
        struct app_wait *w = LT_ENTRY(node, struct app_wait, node);
        w->done(w);
    }
}

static void on_connected(struct lt_stream *s);

// Begins to connect to the next address that does not fail at once. False: there is none.
static bool connect_next(struct app_check *a) {
    static const struct lt_stream_ops ops = {.drained = on_connected};
    while (a->left > 0) {
        struct lt_address address;
        enum lt_err e = lt_target_address(a->target, --a->left, &address);
        int fd = e == LT_OK ? lt_connect_begin(&address, &e) : -1;
        if (fd < 0)
            continue;
        a->connecting = true;
        lt_stream_open(&a->stream, a->loop, fd, &ops, 1);
        lt_stream_await_connect(&a->stream);
        return true;
    }
    return false;
}

static void on_connected(struct lt_stream *s) {
    struct app_check *a = LT_ENTRY(s, struct app_check, stream);
    bool ok = lt_stream_connected(s) == LT_OK;
    lt_stream_close(s);
    a->connecting = false;
    if (!ok && connect_next(a))
        return;
    found_out(a, ok);
    tell_all(a);
}

static void on_timeout(struct lt_timer *t) {
    struct app_check *a = LT_ENTRY(t, struct app_check, timer);
    found_out(a, false);
    tell_all(a);
}

bool app_check_init(struct app_check *a, struct lt_loop *loop, struct lt_span upstream) {
    *a = (struct app_check){.loop = loop, .target = lt_target_get(upstream)};
    lt_list_init(&a->waiting);
    lt_timer_init(&a->timer, on_timeout);
    return a->target != NULL;
}

void app_check_fini(struct app_check *a) {
    end(a);
    lt_target_put(a->target);
}

bool app_check_ask(struct app_check *a, struct app_wait *w) {
    lt_list_init(&w->node);
    if (!a->connecting) {
        if (a->at && lt_clock_mono() - a->at <= FRESH_MS)
            return true;
        a->left = lt_target_count(a->target);
        if (!connect_next(a)) {
            found_out(a, false);
            return true;
        }
        lt_timer_set(a->loop, &a->timer, CONNECT_MS);
    }
    lt_list_append(&a->waiting, &w->node);
    return false;
}

void app_check_leave(struct app_check *a, struct app_wait *w) {
    lt_list_remove(&w->node);
    if (a->connecting && lt_list_empty(&a->waiting))
        end(a);
}
