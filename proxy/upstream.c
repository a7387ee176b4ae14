// SPDX-License-Identifier: Apache-2.0
// One worker's connections to the application. The connection that was used last is lent first, so that in quiet times the
// others run into their time limit. At the limit of connections wishes wait in line.
#include "upstream.h"

#include "exchange.h"

#include <stdlib.h>
#include <unistd.h>

enum { RETRY_MS = 50 };

struct lt_upstream_pool {
    struct lt_worker *worker;
    const struct lt_core_conf *conf;
    struct lt_target *target;
    struct lt_list idle;    // last used first
    struct lt_list waiting; // wishes without a connection
    unsigned n_idle, n, max;
    bool reached;  // the app has answered a connection once
    bool doubted;  // its TLS was no good at the last try, and that was logged
    unsigned turn; // which of its addresses did so last
    struct lt_task serve;
};

static void on_readable(struct lt_stream *s);
static void on_drained(struct lt_stream *s);
static void on_broken(struct lt_stream *s, enum lt_err e);
static void shake_hands(struct lt_upstream *u);
static const struct lt_stream_ops stream_ops = {on_readable, on_drained, on_broken};

static struct lt_upstream *of_stream(struct lt_stream *s) {
    return LT_ENTRY(s, struct lt_upstream, stream);
}

static void count(struct lt_upstream_pool *p) {
    struct lt_metrics *m = &p->worker->core_metrics;
    lt_metric_set(m, LT_M_UPSTREAM_IDLE, p->n_idle);
    lt_metric_set(m, LT_M_UPSTREAM_ACTIVE, p->n - p->n_idle);
}

static void close_upstream(struct lt_upstream *u) {
    struct lt_upstream_pool *p = u->pool;
    if (!lt_list_empty(&u->node)) {
        lt_list_remove(&u->node);
        p->n_idle--;
    }
    lt_timer_clear(&p->worker->loop, &u->timer);
    lt_stream_close(&u->stream);
    lt_inbox_fini(&u->in);
    free(u);
    p->n--;
    count(p);
    if (!lt_list_empty(&p->waiting))
        lt_loop_defer(&p->worker->loop, &p->serve);
}

static void on_idle_timeout(struct lt_timer *t) {
    close_upstream(LT_ENTRY(t, struct lt_upstream, timer));
}

// TLS has things to say of its own, like tickets.
static bool says_nothing(struct lt_stream *s) {
    char byte;
    size_t got;
    return s->secure && lt_stream_read(s, &byte, 1, &got) == LT_OK && got == 0;
}

// An idle connection has nothing to say: whatever comes (mostly its end) is the end of it.
static void on_readable(struct lt_stream *s) {
    struct lt_upstream *u = of_stream(s);
    if (u->x)
        lt_exchange_upstream_data(u->x);
    else if (u->wish)
        shake_hands(u);
    else if (!says_nothing(s))
        close_upstream(u);
}

static void on_broken(struct lt_stream *s, enum lt_err e) {
    struct lt_upstream *u = of_stream(s);
    if (u->x && lt_inbox_span(&u->in).n == 0 && u->x->state == LT_X_FORWARD && u->x->body_touched)
        lt_stream_want_read(s, true); // an answer may stand in the socket still: reading tells
    else if (u->x)
        lt_exchange_upstream_failed(u->x, e);
    else
        close_upstream(u);
}

static void finish_wish(struct lt_upstream_wish *w, struct lt_upstream_pool *p, struct lt_upstream *u, enum lt_err e) {
    w->active = false;
    lt_list_remove(&w->node);
    lt_timer_clear(&p->worker->loop, &w->timer);
    lt_timer_clear(&p->worker->loop, &w->again);
    w->connecting = NULL;
    w->done(w, u, e);
}

static struct lt_upstream_pool *pool_of_wish(struct lt_upstream_wish *w) {
    return LT_ENTRY(w, struct lt_exchange, wish)->generation->pool;
}

static void drop_connecting(struct lt_upstream_wish *w) {
    struct lt_upstream *u = w->connecting;
    w->connecting = NULL;
    if (u)
        close_upstream(u);
}

// Nobody answered there: its other addresses are tried. Until the app was reached for the first time it is taken to be starting.
static void try_failed(struct lt_upstream_pool *p, struct lt_upstream_wish *w, enum lt_err e) {
    drop_connecting(w);
    w->last = e;
    w->tried++;
    if (p->reached && w->tried < lt_target_count(p->target))
        lt_loop_defer(&p->worker->loop, &p->serve);
    else if (p->reached && e != LT_ERR_RESOLVE)
        finish_wish(w, p, NULL, e);
    else
        lt_timer_set(&p->worker->loop, &w->again, RETRY_MS);
}

static void connect_now(struct lt_upstream_pool *p, struct lt_upstream_wish *w) {
    struct lt_address a;
    enum lt_err e = lt_target_address(p->target, w->turn++, &a);
    int fd = e == LT_OK ? lt_connect_begin(&a, &e) : -1;
    struct lt_upstream *u = fd >= 0 ? calloc(1, sizeof *u) : NULL;
    if (!u) {
        if (fd >= 0)
            close(fd);
        try_failed(p, w, fd >= 0 ? LT_ERR_MEMORY : e);
        return;
    }
    u->pool = p;
    p->n++;
    lt_list_init(&u->node);
    lt_timer_init(&u->timer, on_idle_timeout);
    lt_stream_open(&u->stream, &p->worker->loop, fd, &stream_ops, 4 * p->worker->blocks.size);
    lt_inbox_init(&u->in, &p->worker->blocks);
    w->connecting = u;
    u->wish = w;
    lt_stream_await_connect(&u->stream);
    count(p);
}

static void connected(struct lt_upstream *u) {
    struct lt_upstream_wish *w = u->wish;
    u->pool->reached = true;
    u->pool->doubted = false;
    u->pool->turn = w->turn - 1;
    u->wish = NULL;
    finish_wish(w, u->pool, u, LT_OK);
}

// Somebody answers, but not the one we want: another try would find the same.
static void mistrust(struct lt_upstream *u) {
    struct lt_upstream_pool *p = u->pool;
    struct lt_upstream_wish *w = u->wish;
    if (!p->doubted)
        LT_LOG(LT_LOG_ERROR, "upstream_tls_failed", lt_f("upstream", p->conf->upstream),
               lt_fs("why", lt_stream_why(&u->stream)),
               lt_fs("do", "mend the application's certificate, or tls.upstream_ca, tls.upstream_name; without TLS "
                           "there: upstream "
                           "without \"tls://\""));
    p->doubted = true;
    drop_connecting(w);
    finish_wish(w, p, NULL, LT_ERR_PROTOCOL);
}

static void shake_hands(struct lt_upstream *u) {
    bool done;
    enum lt_err e = lt_stream_handshake(&u->stream, &done);
    if (e == LT_ERR_PROTOCOL)
        mistrust(u);
    else if (e != LT_OK)
        try_failed(u->pool, u->wish, e);
    else if (done)
        connected(u);
}

static void begin_tls(struct lt_upstream *u) {
    const struct lt_tls_made *tls = &u->pool->conf->tls;
    if (!lt_stream_secure(&u->stream, tls->upstream, tls->upstream_name)) {
        try_failed(u->pool, u->wish, LT_ERR_MEMORY);
        return;
    }
    lt_stream_want_read(&u->stream, true);
    shake_hands(u);
}

static void on_drained(struct lt_stream *s) {
    struct lt_upstream *u = of_stream(s);
    if (u->x) {
        lt_exchange_upstream_drained(u->x);
        return;
    }
    struct lt_upstream_wish *w = u->wish;
    enum lt_err e = lt_stream_connected(s);
    if (!w) {
        close_upstream(u);
    } else if (e != LT_OK) {
        try_failed(u->pool, w, e);
    } else if (u->pool->conf->tls.upstream) {
        begin_tls(u);
    } else {
        connected(u);
    }
}

static void on_wish_timeout(struct lt_timer *t) {
    struct lt_upstream_wish *w = LT_ENTRY(t, struct lt_upstream_wish, timer);
    struct lt_upstream_pool *p = pool_of_wish(w);
    enum lt_err e = w->connecting || w->last == LT_OK ? LT_ERR_TIMEOUT : w->last;
    drop_connecting(w);
    finish_wish(w, p, NULL, e);
}

static void on_wish_again(struct lt_timer *t) {
    struct lt_upstream_wish *w = LT_ENTRY(t, struct lt_upstream_wish, again);
    lt_loop_defer(&pool_of_wish(w)->worker->loop, &pool_of_wish(w)->serve);
}

// Gives what there is to those who wait, in order.
static void on_serve(struct lt_task *t) {
    struct lt_upstream_pool *p = LT_ENTRY(t, struct lt_upstream_pool, serve);
    struct lt_list *n = p->waiting.next;
    while (n != &p->waiting) {
        struct lt_upstream_wish *w = LT_ENTRY(n, struct lt_upstream_wish, node);
        if (w->connecting || lt_timer_is_set(&w->again)) {
            n = n->next;
            continue;
        }
        struct lt_upstream *u = lt_pool_take(p);
        if (u)
            finish_wish(w, p, u, LT_OK);
        else if (p->n < p->max)
            connect_now(p, w);
        else
            break;
        n = p->waiting.next; // whoever was served may have changed the list
    }
}

struct lt_upstream *lt_pool_take(struct lt_upstream_pool *p) {
    if (lt_list_empty(&p->idle))
        return NULL;
    struct lt_upstream *u = LT_ENTRY(p->idle.next, struct lt_upstream, node);
    lt_list_remove(&u->node);
    lt_timer_clear(&p->worker->loop, &u->timer);
    p->n_idle--;
    u->reused = true;
    count(p);
    return u;
}

void lt_pool_connect(struct lt_upstream_pool *p, struct lt_upstream_wish *w) {
    w->active = true;
    w->connecting = NULL;
    w->last = LT_OK;
    w->tried = 0;
    w->turn = p->turn;
    lt_timer_init(&w->timer, on_wish_timeout);
    lt_timer_init(&w->again, on_wish_again);
    lt_timer_set(&p->worker->loop, &w->timer, p->conf->timeouts->upstream_connect);
    lt_list_append(&p->waiting, &w->node);
    lt_loop_defer(&p->worker->loop, &p->serve);
}

void lt_pool_cancel(struct lt_upstream_pool *p, struct lt_upstream_wish *w) {
    drop_connecting(w);
    w->active = false;
    lt_list_remove(&w->node);
    lt_timer_clear(&p->worker->loop, &w->timer);
    lt_timer_clear(&p->worker->loop, &w->again);
}

void lt_upstream_release(struct lt_upstream *u, bool keep) {
    struct lt_upstream_pool *p = u->pool;
    if (!keep || lt_stream_pending(&u->stream) || lt_inbox_span(&u->in).n || lt_worker_closes(p->worker)) {
        close_upstream(u);
        return;
    }
    lt_inbox_fini(&u->in);
    lt_stream_want_read(&u->stream, true);
    lt_list_push(&p->idle, &u->node);
    p->n_idle++;
    lt_timer_set(&p->worker->loop, &u->timer, p->conf->timeouts->idle);
    count(p);
    if (!lt_list_empty(&p->waiting))
        lt_loop_defer(&p->worker->loop, &p->serve);
}

struct lt_upstream_pool *lt_pool_new(struct lt_worker *w, const struct lt_core_conf *conf, unsigned max) {
    struct lt_upstream_pool *p = calloc(1, sizeof *p);
    if (!p)
        return NULL;
    *p = (struct lt_upstream_pool){.worker = w, .conf = conf, .max = max ? max : 1};
    lt_list_init(&p->idle);
    lt_list_init(&p->waiting);
    lt_task_init(&p->serve, on_serve);
    p->target = lt_target_get(conf->upstream);
    if (!p->target) {
        free(p);
        return NULL;
    }
    return p;
}

void lt_pool_free(struct lt_upstream_pool *p) {
    if (!p)
        return;
    while (!lt_list_empty(&p->idle))
        close_upstream(LT_ENTRY(p->idle.next, struct lt_upstream, node));
    lt_task_cancel(&p->serve);
    lt_target_put(p->target);
    free(p);
}
