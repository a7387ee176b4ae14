// SPDX-License-Identifier: Apache-2.0
// After 101: bytes both ways, each end closed on its own (RFC 9110 section 7.8).
#include "exchange.h"
#include "h2.h"

void lt_tunnel_begin(struct lt_exchange *x) {
    struct lt_buf *out = &x->worker->scratch;
    struct lt_h1_out how = {.kind = LT_BODY_NONE, .upgrade = x->response_framing.upgrade_protocol};
    lt_framing_strip(&x->response.headers);
    lt_exchange_set_state(x, LT_X_TUNNEL);
    x->head_released = x->answered = true;
    x->keep = false;
    bool is_h2 = x->client && x->client->stream.virtual;
    if (!x->client || !lt_forward_response(x) ||
        !(is_h2 ? lt_h2_head(x->client, &x->response, &how) : lt_h1_write_response(out, &x->response, &how))) {
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
    lt_tunnel_move(x);
}

// One direction: what the inbox holds goes out; reading goes on when that is through. False: the way out is broken.
static bool move(struct lt_inbox *in, struct lt_stream *from, bool *ended, struct lt_stream *to) {
    struct lt_span data = lt_inbox_span(in);
    if (lt_stream_pending(to) == 0 && data.n) {
        if (lt_stream_write(to, &data, 1) != LT_OK)
            return false;
        lt_inbox_consume(in, data.n);
    }
    bool through = lt_stream_pending(to) == 0;
    lt_stream_want_read(from, through && !*ended);
    return true;
}

static void shut(struct lt_stream *to, struct lt_inbox *in) {
    if (lt_stream_pending(to) == 0 && lt_inbox_span(in).n == 0)
        lt_stream_shutdown(to);
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
    if (!move(&c->in, &c->stream, &c->ended, &u->stream)) {
        lt_exchange_finish(x);
        return;
    }
    bool upstream_over = x->upstream_ended;
    if (!move(&u->in, &u->stream, &upstream_over, &c->stream)) {
        lt_exchange_client_gone(x);
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
