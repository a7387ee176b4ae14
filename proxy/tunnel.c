// SPDX-License-Identifier: Apache-2.0
// After 101: bytes both ways, each end closed on its own (RFC 9110 section 7.8).
#include "exchange.h"

#include "crypto/token.h"
#include "http/websocket.h"

enum { GOODBYE_MS = 2000 };

// One direction of a WebSocket: `told` means that our close frame went out there, behind which nothing may follow.
struct way {
    struct lt_ws_frames frames;
    bool last; // only the frame under way is to be passed on
    bool told;
};

struct lt_websocket {
    struct lt_exchange *x;
    struct way to_client, to_app;
    struct lt_timer goodbye; // how long the two ends may take to say theirs
};

static void on_goodbye(struct lt_timer *t) {
    lt_exchange_finish(LT_ENTRY(t, struct lt_websocket, goodbye)->x);
}

// Without memory for it the tunnel works all the same, and ends without a close frame.
static void watch_frames(struct lt_exchange *x) {
    if (!lt_span_eq_nocase(x->response_framing.upgrade_protocol, LT_S("websocket")))
        return;
    x->websocket = lt_arena_zalloc(&x->arena, sizeof *x->websocket);
    if (!x->websocket)
        return;
    x->websocket->x = x;
    lt_timer_init(&x->websocket->goodbye, on_goodbye);
}

void lt_tunnel_end(struct lt_exchange *x) {
    if (x->websocket)
        lt_timer_clear(&x->worker->loop, &x->websocket->goodbye);
    x->websocket = NULL;
}

void lt_tunnel_begin(struct lt_exchange *x) {
    struct lt_buf *out = &x->worker->scratch;
    struct lt_h1_out how = {.kind = LT_BODY_NONE, .upgrade = x->response_framing.upgrade_protocol};
    lt_framing_strip(&x->response.headers);
    lt_exchange_set_state(x, LT_X_TUNNEL);
    x->head_released = x->answered = true;
    x->keep = false;
    if (!x->client || !lt_forward_response(x) || !lt_client_head(x->client, out, &x->response, &how)) {
        lt_exchange_client_gone(x);
        return;
    }
    struct lt_span head = lt_buf_span(out);
    bool ok = lt_stream_write(&x->client->stream, &head, 1) == LT_OK;
    lt_buf_consume(out, head.n);
    if (!ok) {
        lt_exchange_client_gone(x);
        return;
    }
    x->client->state = LT_CLIENT_TUNNEL;
    lt_timer_set(&x->worker->loop, &x->timer, x->generation->snapshot->core.timeouts->tunnel);
    watch_frames(x);
    if (lt_worker_closes(x->worker))
        lt_tunnel_drain(x);
    else
        lt_tunnel_move(x);
}

// One direction: what the inbox holds goes out; reading goes on when that is through. False: the way out is broken.
static bool move(struct lt_inbox *in, struct lt_stream *from, bool *ended, struct lt_stream *to, struct way *way) {
    struct lt_span data = lt_inbox_span(in);
    bool told = way && way->told;
    if (data.n && (told || lt_stream_pending(to) == 0)) {
        if (way && !told)
            data.n = way->last && lt_ws_is_between(&way->frames) ? 0 : lt_ws_pass(&way->frames, data, way->last);
        if (!told && data.n && lt_stream_write(to, &data, 1) != LT_OK)
            return false;
        lt_inbox_consume(in, data.n);
    }
    bool through = told || lt_stream_pending(to) == 0;
    lt_stream_want_read(from, through && !*ended);
    return true;
}

static void shut(struct lt_stream *to, struct lt_inbox *in) {
    if (lt_stream_pending(to) == 0 && lt_inbox_span(in).n == 0)
        lt_stream_shutdown(to);
}

// Our close frame, once the direction stands between frames. False: the way out is broken.
static bool tell(struct way *way, struct lt_inbox *in, struct lt_stream *to, bool masked) {
    unsigned char frame[LT_WS_GOING_AWAY_MAX], mask[4];
    if (way->told || way->frames.closed || !lt_ws_is_between(&way->frames))
        return true;
    if (masked && !lt_random(mask, sizeof mask))
        return false;
    struct lt_span text = lt_span((char *)frame, lt_ws_going_away(frame, masked ? mask : NULL));
    way->told = true;
    lt_inbox_consume(in, lt_inbox_span(in).n);
    return lt_stream_write(to, &text, 1) == LT_OK;
}

static bool say_goodbye(struct lt_exchange *x) {
    struct lt_websocket *w = x->websocket;
    struct lt_client *c = x->client;
    struct lt_upstream *u = x->upstream;
    bool ok = tell(&w->to_client, &u->in, &c->stream, false) && tell(&w->to_app, &c->in, &u->stream, true);
    bool told = (w->to_client.told || w->to_client.frames.closed) && (w->to_app.told || w->to_app.frames.closed);
    if (ok && told && !lt_timer_is_set(&w->goodbye))
        lt_timer_set(&x->worker->loop, &w->goodbye, GOODBYE_MS);
    return ok;
}

void lt_tunnel_drain(struct lt_exchange *x) {
    if (x->websocket)
        x->websocket->to_app.last = x->websocket->to_client.last = true;
    lt_tunnel_move(x);
}

void lt_tunnel_move(struct lt_exchange *x) {
    struct lt_client *c = x->client;
    struct lt_upstream *u = x->upstream;
    if (!c) {
        lt_exchange_finish(x);
        return;
    }
    if (!u) { // the app is gone: what it sent last still reaches the client
        lt_exchange_finish(x);
        return;
    }
    struct lt_websocket *w = x->websocket;
    if (!move(&c->in, &c->stream, &c->ended, &u->stream, w ? &w->to_app : NULL)) {
        lt_exchange_finish(x);
        return;
    }
    bool upstream_over = x->upstream_ended;
    if (!move(&u->in, &u->stream, &upstream_over, &c->stream, w ? &w->to_client : NULL)) {
        lt_exchange_client_gone(x);
        return;
    }
    if (w && w->to_app.last && !say_goodbye(x)) {
        lt_exchange_finish(x);
        return;
    }
    if (c->ended)
        shut(&u->stream, &c->in);
    if (x->upstream_ended)
        shut(&c->stream, &u->in);
    bool all_out = lt_stream_pending(&u->stream) == 0 && lt_stream_pending(&c->stream) == 0 &&
                   lt_inbox_span(&c->in).n == 0 && lt_inbox_span(&u->in).n == 0;
    if (c->ended && x->upstream_ended && all_out)
        lt_exchange_finish(x);
}
