// SPDX-License-Identifier: Apache-2.0
// Bodies, both ways: slices of the inbox go straight to the other side's socket. What the kernel does not take is copied
// once into the stream's buffer and the sender is not read until that is out: a slow reader stops a fast writer.
#include "exchange.h"
#include "h2.h"

#include <stdlib.h>

enum { HOLD_MAX = 32 << 10 };   // a held answer beyond this lets its head go
enum { SPLICE_MIN = 16 << 10 }; // what is left of a body from which on splicing costs less than reading
enum { SPLICE_MAX = 1 << 20 };

bool lt_gather_send(struct lt_gather *g, struct lt_stream *s) {
    bool ok = g->n == 0 || lt_stream_write(s, g->v, g->n) == LT_OK;
    g->n = g->chunks = 0;
    return ok;
}

// One slice, framed as the way out wants it.
static bool gather_body(struct lt_gather *g, struct lt_stream *s, struct lt_span data, enum lt_body_kind out) {
    if (g->n > 4 && !lt_gather_send(g, s))
        return false;
    if (out == LT_BODY_CHUNKED) {
        char *head = g->chunk_head[g->chunks++];
        g->v[g->n++] = lt_span(head, lt_h1_chunk_head(head, data.n));
    }
    g->v[g->n++] = data;
    if (out == LT_BODY_CHUNKED)
        g->v[g->n++] = LT_S("\r\n");
    return g->chunks < 2 || lt_gather_send(g, s);
}

// How the body is framed to the application. Of a body that ends with its HTTP/2 stream nobody knows the length.
static enum lt_body_kind request_out(const struct lt_exchange *x) {
    return x->request_framing.kind == LT_BODY_CLOSE ? LT_BODY_CHUNKED : x->request_framing.kind;
}

// The request's head into scratch. The slices of `g` live until the next lt_gather_send.
static bool gather_request_head(struct lt_exchange *x, struct lt_gather *g) {
    const struct lt_framing *f = &x->request_framing;
    struct lt_h1_out how = {.kind = request_out(x), .length = f->length, .trailers = f->trailers};
    if (f->upgrade)
        how.upgrade = f->upgrade_protocol;
    if (!lt_h1_write_request(&x->worker->scratch, &x->request, &how))
        return false;
    g->v[g->n++] = lt_buf_span(&x->worker->scratch);
    x->head_sent = true;
    return true;
}

static bool gather_last_chunk(struct lt_exchange *x, struct lt_gather *g, struct lt_stream *s,
                              struct lt_headers *trailers) {
    if (trailers->n == 0) {
        g->v[g->n++] = LT_S("0\r\n\r\n");
        return true;
    }
    struct lt_buf out;
    lt_buf_init(&out, 64 << 10);
    struct lt_span text = {0};
    bool ok = lt_h1_write_last_chunk(&out, trailers);
    if (ok) {
        text = lt_arena_dup(&x->arena, lt_buf_span(&out));
        ok = text.p && lt_gather_send(g, s);
    }
    lt_buf_fini(&out);
    if (ok)
        g->v[g->n++] = text;
    return ok;
}

// A body that passes as it is, with nothing of it on this side: it can stay in the kernel.
static bool may_splice(const struct lt_body *body, const struct lt_inbox *in, const struct lt_stream *from,
                       const struct lt_stream *to) {
    return body->kind == LT_BODY_LENGTH && body->left >= SPLICE_MIN && lt_inbox_span(in).n == 0 && !from->secure &&
           !to->secure && !from->virtual && !to->virtual && !to->corked && lt_stream_pending(to) == 0;
}

// False: nothing was done.
static bool spliced(struct lt_body *body, struct lt_stream *from, struct lt_stream *to, size_t *got, enum lt_err *e) {
    *e = lt_stream_splice(from, to, body->left < SPLICE_MAX ? (size_t)body->left : SPLICE_MAX, got);
    body->left -= *got;
    if (lt_stream_pending(to))
        lt_stream_want_read(from, false); // drained goes on
    return *e != LT_ERR_LIMIT;
}

enum lt_err lt_relay_receive_request(struct lt_exchange *x, size_t *got) {
    struct lt_client *c = x->client;
    enum lt_err e;
    if (x->upstream && x->head_sent && !x->collect &&
        may_splice(&x->request_body, &c->in, &c->stream, &x->upstream->stream) &&
        spliced(&x->request_body, &c->stream, &x->upstream->stream, got, &e)) {
        x->body_touched = true;
        return e;
    }
    return lt_inbox_read(&c->in, &c->stream, got);
}

static void request_failed(struct lt_exchange *x) {
    // The app may have answered already and closed its side: its answer counts, not the rest of the request.
    x->keep = false;
    if (x->client)
        lt_stream_want_read(&x->client->stream, false);
}

// All that the inbox holds goes out. Nothing is received meanwhile, so the gathered slices stay good until they are sent.
static enum lt_body_status pump_request(struct lt_exchange *x, struct lt_gather *g) {
    struct lt_inbox *in = &x->client->in;
    struct lt_stream *to = &x->upstream->stream;
    struct lt_span input = lt_inbox_span(in), data;
    size_t before = input.n;
    enum lt_body_status status;
    bool ok = true;
    while (ok && (status = lt_body_read(&x->request_body, &input, &data)) == LT_BODY_DATA) {
        x->body_touched = true;
        ok = gather_body(g, to, data, request_out(x));
    }
    if (ok && status == LT_BODY_MORE && x->request_framing.kind == LT_BODY_CLOSE && x->client->ended) {
        lt_body_close(&x->request_body);
        ok = lt_h2_request_trailers(x->client, &x->request_body);
        status = LT_BODY_END;
    }
    if (ok && status == LT_BODY_END)
        lt_forward_unforge(x, &x->request_body.trailers);
    if (ok && status == LT_BODY_END && request_out(x) == LT_BODY_CHUNKED)
        ok = gather_last_chunk(x, g, to, &x->request_body.trailers);
    ok = ok && lt_gather_send(g, to);
    lt_inbox_consume(in, before - input.n);
    return ok ? status : LT_BODY_BAD;
}

static void bad_request_body(struct lt_exchange *x) {
    unsigned reason = x->request_body.reason;
    lt_worker_count(x->worker, LT_M_REJECTS + reason, 1);
    x->outcome = LT_OUTCOME_REJECTED;
    if (x->head_released)
        lt_exchange_client_gone(x);
    else
        lt_reply(x, 400, lt_h1_reason_name(reason), NULL, lt_span(NULL, 0), true);
}

void lt_relay_request(struct lt_exchange *x) {
    struct lt_gather g = {.n = 0};
    if (!x->upstream || x->request_sent)
        return;
    struct lt_stream *to = &x->upstream->stream;
    if (lt_stream_pending(to))
        return; // drained comes back
    bool head_now = !x->head_sent;
    if (head_now && !gather_request_head(x, &g)) {
        lt_reply(x, 503, "memory", NULL, lt_span(NULL, 0), true);
        return;
    }
    enum lt_body_status status = LT_BODY_MORE;
    if (x->client) {
        status = pump_request(x, &g);
    } else {
        status = lt_gather_send(&g, to) ? (lt_body_done(&x->request_body) ? LT_BODY_END : LT_BODY_MORE) : LT_BODY_BAD;
    }
    if (head_now)
        lt_buf_consume(&x->worker->scratch, x->worker->scratch.len);
    if (status == LT_BODY_BAD && x->request_body.reason != LT_H1_OK) {
        bad_request_body(x);
        return;
    }
    if (status == LT_BODY_BAD) {
        request_failed(x);
        return;
    }
    x->request_sent = status == LT_BODY_END;
    if (!x->client)
        return;
    if (x->client->ended && !x->request_sent && !lt_stream_pending(to) && lt_inbox_span(&x->client->in).n == 0) {
        lt_exchange_client_gone(x); // it ended in the middle of its body
        return;
    }
    lt_stream_want_read(&x->client->stream, !x->client->ended && !lt_stream_pending(to));
}

// --- the response ---

static void decide_framing(struct lt_exchange *x, struct lt_h1_out *how) {
    const struct lt_framing *f = &x->response_framing;
    bool modern = x->request.minor >= 1;
    *how = (struct lt_h1_out){.kind = f->kind, .length = f->length};
    if (f->kind == LT_BODY_CHUNKED || f->kind == LT_BODY_CLOSE)
        how->kind = modern && !lt_client_is_h2(x->client) ? LT_BODY_CHUNKED : LT_BODY_CLOSE;
    if (f->kind == LT_BODY_NONE && x->response.status >= 200 && x->response.status != 204) {
        // What a GET would have brought (HEAD, 304), or an answer whose length is 0.
        struct lt_header *length = lt_headers_get(&x->response.headers, LT_HDR_CONTENT_LENGTH);
        unsigned long long n = 0;
        struct lt_span first = {0}, list = length ? length->value : first;
        if (length && lt_span_next(&list, &first) && lt_span_to_u64(first, INT64_MAX, &n)) {
            how->kind = LT_BODY_LENGTH;
            how->length = n;
            how->head_length = true;
        } else if (lt_headers_get(&x->response.headers, LT_HDR_TRANSFER_ENCODING) && modern) {
            how->kind = LT_BODY_CHUNKED;
            how->head_length = true;
        }
    }
    x->out = f->kind == LT_BODY_NONE ? LT_BODY_NONE : how->kind;
    if (lt_worker_drains(x->worker) || !x->client || x->out == LT_BODY_CLOSE ||
        (!x->request_sent && !lt_body_done(&x->request_body)))
        x->keep = false;
    how->close = !x->keep;
    how->keep_alive = x->keep && !modern;
}

bool lt_relay_release_head(struct lt_exchange *x) {
    struct lt_h1_out how;
    decide_framing(x, &how);
    lt_framing_strip(&x->response.headers);
    if (!lt_forward_response(x))
        return false;
    x->head_released = true;
    lt_exchange_set_state(x, LT_X_RESPOND);
    if (!x->client)
        return true;
    if (x->hold)
        lt_stream_cork(&x->client->stream);
    // It waits in scratch for the first piece of the body: lt_relay_response() follows at once.
    return lt_client_head(x->client, &x->worker->scratch, &x->response, &how);
}

static bool to_client(struct lt_exchange *x, struct lt_gather *g, struct lt_span data) {
    x->bytes += data.n;
    if (!x->client)
        return true;
    if (x->hold && x->out == LT_BODY_LENGTH && x->response_body.left == 0) {
        x->tail = data.p[data.n - 1];
        x->has_tail = true;
        data.n--;
    }
    return data.n == 0 || gather_body(g, &x->client->stream, data, x->out);
}

static enum lt_body_status pump_response(struct lt_exchange *x, struct lt_gather *g) {
    struct lt_inbox *in = &x->upstream->in;
    struct lt_span input = lt_inbox_span(in), data;
    size_t before = input.n;
    enum lt_body_status status;
    bool ok = true;
    while (ok && (status = lt_body_read(&x->response_body, &input, &data)) == LT_BODY_DATA)
        ok = to_client(x, g, data);
    if (ok && status == LT_BODY_MORE && x->upstream_ended && x->response_framing.kind == LT_BODY_CLOSE)
        status = LT_BODY_END;
    if (ok && status == LT_BODY_END && lt_client_is_h2(x->client))
        ok = lt_h2_trailers(x->client, &x->response_body.trailers);
    if (ok && status == LT_BODY_END && x->out == LT_BODY_CHUNKED && !x->hold && x->client)
        ok = gather_last_chunk(x, g, &x->client->stream, &x->response_body.trailers);
    if (ok && x->client)
        ok = lt_gather_send(g, &x->client->stream);
    lt_inbox_consume(in, before - input.n);
    if (!ok)
        x->client_broken = true;
    return ok ? status : LT_BODY_BAD;
}

enum lt_err lt_relay_receive_response(struct lt_exchange *x, size_t *got) {
    struct lt_upstream *u = x->upstream;
    enum lt_err e;
    if (x->state == LT_X_RESPOND && x->client && !x->hold && x->out == LT_BODY_LENGTH &&
        may_splice(&x->response_body, &u->in, &u->stream, &x->client->stream) &&
        spliced(&x->response_body, &u->stream, &x->client->stream, got, &e)) {
        x->bytes += *got;
        u->in.full = true;
        return e;
    }
    return lt_inbox_read(&u->in, &u->stream, got);
}

// The last byte is in: the connection goes back to the pool, the modules commit.
static void response_ended(struct lt_exchange *x) {
    x->upstream_ended = x->answered = true;
    lt_exchange_give_upstream(x, x->request_sent && x->response_framing.keep_alive &&
                                     x->response_framing.kind != LT_BODY_CLOSE);
    x->ended_hooks = true;
    lt_exchange_set_state(x, LT_X_END_HOOKS);
    lt_pipeline_run(x, LT_HOOK_END);
}

// Reads on, unless the client is behind.
static void pace(struct lt_exchange *x) {
    struct lt_stream *to = x->client ? &x->client->stream : NULL;
    if (to && to->corked && lt_stream_pending(to) > HOLD_MAX && lt_stream_uncork(to) != LT_OK) {
        lt_exchange_client_gone(x);
        return;
    }
    bool full = to && !to->corked && lt_stream_pending(to);
    lt_stream_want_read(&x->upstream->stream, !full && !x->upstream_ended);
}

void lt_relay_response(struct lt_exchange *x) {
    struct lt_gather g = {.n = 0};
    struct lt_buf *head = &x->worker->scratch;
    if (x->client && head->len)
        g.v[g.n++] = lt_buf_span(head);
    enum lt_body_status status = pump_response(x, &g);
    lt_buf_consume(head, head->len);
    if (x->client_broken && x->client)
        lt_exchange_client_gone(x);
    else if (status == LT_BODY_BAD || (status == LT_BODY_MORE && x->upstream_ended))
        lt_exchange_upstream_failed(x, LT_ERR_PROTOCOL);
    else if (status == LT_BODY_END)
        response_ended(x);
    else
        pace(x);
}

void lt_relay_release_tail(struct lt_exchange *x) {
    struct lt_gather g = {.n = 0};
    struct lt_stream *to = &x->client->stream;
    bool ok = true;
    if (x->has_tail)
        g.v[g.n++] = lt_span(&x->tail, 1);
    if (x->hold && x->out == LT_BODY_CHUNKED)
        ok = gather_last_chunk(x, &g, to, &x->response_body.trailers);
    ok = ok && lt_gather_send(&g, to);
    if (to->corked)
        ok = ok && lt_stream_uncork(to) == LT_OK;
    if (!ok) {
        lt_exchange_client_gone(x);
        return;
    }
    lt_exchange_finish(x);
}
