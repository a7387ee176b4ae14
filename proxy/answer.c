// SPDX-License-Identifier: Apache-2.0
// The answer's heads: interim ones pass, the final one is checked whole before a byte of it goes to the client.
#include "exchange.h"

#include "base/clock.h"
#include "h2.h"

// Interim answers (RFC 9110 section 15.2) pass on to clients that know them; the final head is then awaited.
static bool interim(struct lt_exchange *x) {
    struct lt_upstream *u = x->upstream;
    x->was_answered = true;
    lt_framing_strip(&x->response.headers);
    struct lt_h1_out how = {.kind = LT_BODY_NONE};
    bool ok = true;
    if (x->client && x->request.minor >= 1) {
        struct lt_buf *out = &x->worker->scratch;
        if (lt_client_is_h2(x->client))
            return lt_h2_interim(x->client, &x->response) && (lt_inbox_consume(&u->in, x->response.size), true);
        ok = lt_h1_write_response(out, &x->response, &how);
        struct lt_span text = lt_buf_span(out);
        ok = ok && lt_stream_write(&x->client->stream, &text, 1) == LT_OK;
        lt_buf_consume(out, text.n);
    }
    lt_inbox_consume(&u->in, x->response.size);
    return ok;
}

static void response_head_done(struct lt_exchange *x) {
    lt_inbox_pin(&x->upstream->in, x->response.size);
    enum lt_h1_reason bad = lt_framing_response(&x->response, x->request.method, &x->response_framing);
    bool switching = x->response.status == 101;
    const char *why = NULL;
    if (bad != LT_H1_OK)
        why = lt_h1_reason_name(bad);
    else if (switching && !(x->request_framing.upgrade && x->response_framing.upgrade))
        why = "101 without asking, or without an Upgrade field";
    else if (lt_client_is_h2(x->client) && !lt_h2_takes(x->client, &x->response))
        why = "no answer to a WebSocket's key";
    if (why) {
        LT_LOG(LT_LOG_WARN, "upstream_malformed", lt_f("id", x->id), lt_fs("why", why));
        lt_exchange_fail(x, 502, "upstream_malformed");
        return;
    }
    x->response_started = true;
    x->first_byte = lt_clock_mono();
    x->status = x->response.status;
    lt_body_init(&x->response_body, &x->response_framing, &x->arena);
    lt_exchange_set_state(x, LT_X_RESPONSE_HOOKS);
    lt_pipeline_run(x, LT_HOOK_RESPONSE);
}

// Reads heads until the final one. False: not whole yet, or it has failed.
static void parse_response(struct lt_exchange *x) {
    for (;;) {
        struct lt_upstream *u = x->upstream;
        struct lt_span data = lt_inbox_span(&u->in);
        if (data.n == 0)
            return;
        if (!x->response_parser.max &&
            !lt_h1_parser_init(&x->response_parser, &x->response, &x->arena, true, lt_exchange_head_limit(x))) {
            lt_exchange_fail(x, 503, "memory");
            return;
        }
        enum lt_h1_status status = lt_h1_parse(&x->response_parser, &x->response, data.p, data.n);
        if (status == LT_H1_MORE)
            return;
        if (status == LT_H1_BAD) {
            LT_LOG(LT_LOG_WARN, "upstream_malformed", lt_f("id", x->id),
                   lt_fs("why", lt_h1_reason_name(x->response_parser.reason)));
            lt_exchange_fail(x, 502, "upstream_malformed");
            return;
        }
        if (x->response.status >= 200 || x->response.status == 101) {
            response_head_done(x);
            return;
        }
        if (!interim(x)) {
            lt_exchange_client_gone(x);
            return;
        }
        lt_h1_parser_again(&x->response_parser, &x->response);
        lt_inbox_compact(&u->in);
    }
}

// The app ended the connection: the end of a close-delimited body, or too early.
static void upstream_ended(struct lt_exchange *x) {
    if (x->state == LT_X_TUNNEL) {
        x->upstream_ended = true; // the other direction may go on
        lt_tunnel_move(x);
    } else if (x->state == LT_X_RESPOND && x->response_framing.kind == LT_BODY_CLOSE) {
        x->upstream_ended = true;
        lt_relay_response(x);
    } else if (x->state == LT_X_RESPONSE_HOOKS) {
        x->upstream_ended = true; // looked at when the body is relayed
    } else if (x->state == LT_X_RESPOND && lt_inbox_span(&x->upstream->in).n) {
        x->upstream_ended = true; // the client is slower: its turn comes first
    } else {
        lt_exchange_upstream_failed(x, LT_ERR_CLOSED);
    }
}

void lt_exchange_upstream_data(struct lt_exchange *x) {
    struct lt_upstream *u = x->upstream;
    size_t got;
    x->active = lt_clock_mono();
    enum lt_err e = lt_relay_receive_response(x, &got);
    if (e == LT_ERR_LIMIT || e == LT_ERR_MEMORY) {
        lt_stream_want_read(&u->stream, false);
        return;
    }
    if (got) {
        if (x->state == LT_X_FORWARD)
            parse_response(x);
        else if (x->state == LT_X_RESPOND)
            lt_relay_response(x);
        else if (x->state == LT_X_TUNNEL)
            lt_tunnel_move(x);
    } else if (e == LT_ERR_CLOSED) {
        lt_stream_want_read(&u->stream, false);
        upstream_ended(x);
    } else if (e != LT_OK) {
        lt_exchange_upstream_failed(x, e);
    }
}
