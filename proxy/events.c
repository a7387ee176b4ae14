// SPDX-License-Identifier: Apache-2.0
// An answer of lethe's own that does not end by itself: server-sent events, one piece a tick.
#include "exchange.h"

#include "base/clock.h"
#include "process.h"

enum { STREAMS_MAX = 8, PIECE_MAX = 1 << 20 };

struct lt_events {
    struct lt_call *call;
    int64_t every;
    bool (*more)(struct lt_call *c, struct lt_buf *out);
    struct lt_timer tick;
    int64_t took; // when the client was last seen to take something, lt_clock_mono()
    struct lt_buf piece;
    bool chunked;
};

// One piece, framed. `last`: nothing comes behind it.
static bool send_piece(struct lt_exchange *x, bool last) {
    struct lt_events *e = x->events;
    char head[24];
    struct lt_span data = lt_buf_span(&e->piece), v[4];
    unsigned n = 0;
    if (data.n) {
        if (e->chunked)
            v[n++] = lt_span(head, lt_h1_chunk_head(head, data.n));
        v[n++] = data;
        if (e->chunked)
            v[n++] = LT_S("\r\n");
    }
    if (last && e->chunked)
        v[n++] = LT_S("0\r\n\r\n");
    x->bytes += data.n;
    bool ok = n == 0 || lt_stream_write(&x->client->stream, v, n) == LT_OK;
    lt_buf_consume(&e->piece, data.n);
    return ok;
}

// An old configuration is not kept alive by a reader who stays.
static bool is_over(const struct lt_exchange *x) {
    struct lt_process_view view;
    lt_process_look(&view);
    return view.draining || lt_worker_drains(x->worker) || x->generation != x->worker->generation;
}

// Has the client not yet taken what it was given? Then this piece is not for it: neither we nor the kernel keep old ones.
static bool is_behind(struct lt_exchange *x) {
    struct lt_stream *s = &x->client->stream;
    bool all = lt_stream_took_all(s);
    if (lt_stream_still_takes(s) || all)
        x->events->took = lt_clock_mono();
    return !all;
}

static bool is_too_late(const struct lt_exchange *x) {
    return lt_clock_mono() - x->events->took >= x->generation->snapshot->core.timeouts->idle;
}

static void on_tick(struct lt_timer *t) {
    struct lt_events *e = LT_ENTRY(t, struct lt_events, tick);
    struct lt_exchange *x = e->call->x;
    bool over = is_over(x);
    if (is_behind(x) && !over) {
        if (is_too_late(x))
            lt_exchange_client_gone(x);
        else
            lt_timer_set(&x->worker->loop, &e->tick, e->every);
        return;
    }
    over = !e->more(e->call, &e->piece) || over;
    if (!send_piece(x, over))
        lt_exchange_client_gone(x);
    else if (over)
        lt_exchange_finish(x);
    else
        lt_timer_set(&x->worker->loop, &e->tick, e->every);
}

void lt_events_client_data(struct lt_exchange *x) {
    if (!x->client->ended)
        return; // another request: it waits in the inbox
    x->keep = false;
    if (lt_stream_pending(&x->client->stream) == 0 && send_piece(x, true))
        lt_exchange_finish(x);
    else
        lt_exchange_client_gone(x);
}

void lt_events_end(struct lt_exchange *x) {
    if (!x->events)
        return;
    lt_timer_clear(&x->worker->loop, &x->events->tick);
    lt_buf_fini(&x->events->piece);
    x->events = NULL;
    x->worker->n_events--;
}

static enum lt_verdict refuse(struct lt_exchange *x, const char *reason) {
    lt_reply(x, 503, reason, NULL, lt_span(NULL, 0), false);
    return LT_REPLY;
}

enum lt_verdict lt_call_reply_events(struct lt_call *c, int64_t every_ms,
                                     bool (*more)(struct lt_call *c, struct lt_buf *out)) {
    struct lt_exchange *x = c->x;
    x->outcome = LT_OUTCOME_LOCAL;
    x->pipeline.running = false;
    if (is_over(x))
        return refuse(x, "draining");
    if (x->worker->n_events == STREAMS_MAX)
        return refuse(x, "too_many_streams");
    struct lt_events *e = lt_arena_zalloc(&x->arena, sizeof *e);
    if (!e)
        return refuse(x, "memory");
    *e = (struct lt_events){
        .call = c, .every = every_ms, .more = more, .chunked = x->request.minor >= 1, .took = lt_clock_mono()};
    lt_buf_init(&e->piece, PIECE_MAX);
    lt_timer_init(&e->tick, on_tick);
    x->events = e;
    x->worker->n_events++;
    lt_exchange_set_state(x, LT_X_EVENTS);
    if (!lt_reply_open(x, "text/event-stream", e->chunked ? LT_BODY_CHUNKED : LT_BODY_CLOSE))
        lt_exchange_client_gone(x);
    else if (x->request.method == LT_METHOD_HEAD)
        lt_exchange_finish(x);
    else
        lt_timer_set(&x->worker->loop, &e->tick, 0);
    return LT_REPLY;
}
