// SPDX-License-Identifier: Apache-2.0
#include "h2_session.h"

#include "base/clock.h"
#include "exchange.h"

#include <stdlib.h>

enum { READ_SIZE = 16 << 10, BATCH = 48 << 10, PENDING_MAX = 64 << 10, NOTICE_MS = 500 };
// What a frame that asks for nothing may cost: 1,000 at once, 200 a second from then on. A browser sends a handful.
enum { CREDIT_MAX = 1000, CREDIT_PER_S = 200 };

static const struct lt_core_conf *conf(const struct lt_h2 *h) {
    return &h->client->worker->generation->snapshot->core;
}

static struct lt_loop *loop(const struct lt_h2 *h) {
    return &h->client->worker->loop;
}

static void set_timer(struct lt_h2 *h) {
    const struct lt_timeouts_conf *t = conf(h)->timeouts;
    int64_t ms = h->in_head                  ? t->head
                 : h->state == LT_H2_NOTICED ? NOTICE_MS
                 : h->n_streams == 0         ? t->idle
                                             : t->upstream;
    lt_timer_set(loop(h), &h->client->timer, ms);
}

// False: it has used up what it may.
static bool charge(struct lt_h2 *h) {
    int64_t now = lt_clock_mono();
    h->credit += (now - h->credited_at) * CREDIT_PER_S;
    h->credited_at = now;
    if (h->credit > CREDIT_MAX * 1000)
        h->credit = CREDIT_MAX * 1000;
    h->credit -= 1000;
    return h->credit >= 0;
}

static int too_much(struct lt_h2 *h) {
    lt_worker_count(h->client->worker, LT_M_REJECTS + LT_REJECT_FLOOD, 1);
    nghttp2_session_terminate_session(h->session, NGHTTP2_ENHANCE_YOUR_CALM);
    h->state = LT_H2_FAILED;
    return NGHTTP2_ERR_CALLBACK_FAILURE;
}

// --- what nghttp2 tells ---

static struct lt_h2_stream *stream_of(nghttp2_session *session, int32_t id) {
    return nghttp2_session_get_stream_user_data(session, id);
}

static int reset(nghttp2_session *session, int32_t id, uint32_t code) {
    nghttp2_submit_rst_stream(session, NGHTTP2_FLAG_NONE, id, code);
    return 0;
}

static int on_begin_headers(nghttp2_session *session, const nghttp2_frame *frame, void *user) {
    struct lt_h2 *h = user;
    int32_t id = frame->hd.stream_id;
    struct lt_h2_stream *s;
    if (frame->hd.type != NGHTTP2_HEADERS)
        return 0;
    h->in_head = true;
    set_timer(h);
    if (frame->headers.cat != NGHTTP2_HCAT_REQUEST) {
        s = stream_of(session, id);
        if (s)
            s->in_trailers = true;
        return 0;
    }
    s = lt_h2_stream_new(h, id);
    if (!s)
        return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
    nghttp2_session_set_stream_user_data(session, id, s);
    return 0;
}

static int on_header(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name, size_t name_n,
                     const uint8_t *value, size_t value_n, uint8_t flags, void *user) {
    struct lt_h2_stream *s = stream_of(session, frame->hd.stream_id);
    (void)flags;
    (void)user;
    if (!s || s->closed)
        return 0;
    bool ok = lt_h2_stream_field(s, lt_span((const char *)name, name_n), lt_span((const char *)value, value_n));
    return ok ? 0 : NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
}

// Fields that are no fields: the request is malformed (RFC 9113 section 8.1.1), not to be guessed at.
static int on_invalid_header(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name, size_t name_n,
                             const uint8_t *value, size_t value_n, uint8_t flags, void *user) {
    (void)session, (void)frame, (void)name, (void)name_n, (void)value, (void)value_n, (void)flags, (void)user;
    return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
}

static int on_headers(struct lt_h2 *h, nghttp2_session *session, const nghttp2_frame *frame) {
    struct lt_h2_stream *s = stream_of(session, frame->hd.stream_id);
    h->in_head = false;
    set_timer(h);
    if (!s || s->closed)
        return 0;
    bool ok = !(frame->hd.flags & NGHTTP2_FLAG_END_STREAM) || lt_h2_stream_ended(s);
    if (ok && !s->begun)
        ok = lt_h2_stream_begin(s);
    return ok ? 0 : reset(session, s->id, NGHTTP2_PROTOCOL_ERROR);
}

static int on_frame_recv(nghttp2_session *session, const nghttp2_frame *frame, void *user) {
    struct lt_h2 *h = user;
    struct lt_h2_stream *s;
    switch (frame->hd.type) {
    case NGHTTP2_HEADERS:
        return on_headers(h, session, frame);
    case NGHTTP2_DATA:
        s = stream_of(session, frame->hd.stream_id);
        if (s && frame->hd.flags & NGHTTP2_FLAG_END_STREAM)
            return lt_h2_stream_ended(s) ? 0 : reset(session, s->id, NGHTTP2_PROTOCOL_ERROR);
        if (frame->hd.length == 0 && !charge(h))
            return too_much(h);
        return 0;
    case NGHTTP2_RST_STREAM:
    case NGHTTP2_PING:
    case NGHTTP2_SETTINGS:
    case NGHTTP2_PRIORITY:
        return frame->hd.flags & NGHTTP2_FLAG_ACK || charge(h) ? 0 : too_much(h);
    default:
        return 0;
    }
}

static int on_data_chunk(nghttp2_session *session, uint8_t flags, int32_t id, const uint8_t *data, size_t n, void *user) {
    struct lt_h2_stream *s = stream_of(session, id);
    (void)flags;
    (void)user;
    if (s && s->client && lt_h2_stream_data(s, lt_span((const char *)data, n)))
        return 0;
    nghttp2_session_consume(session, id, n); // nobody reads it any more
    return 0;
}

static int on_stream_close(nghttp2_session *session, int32_t id, uint32_t code, void *user) {
    struct lt_h2_stream *s = stream_of(session, id);
    (void)code;
    (void)user;
    if (s)
        lt_h2_stream_closed(s);
    return 0;
}

// A stream that we end because of an error of its sender's costs us, too. And where the answer is whole while the request still comes,
// the rest of that is not wanted (RFC 9113 section 8.1).
static int on_frame_send(nghttp2_session *session, const nghttp2_frame *frame, void *user) {
    struct lt_h2 *h = user;
    struct lt_h2_stream *s = frame->hd.stream_id ? stream_of(session, frame->hd.stream_id) : NULL;
    if (frame->hd.type == NGHTTP2_RST_STREAM) {
        if (!(s && s->given_up) && h->state != LT_H2_FAILED && !charge(h))
            too_much(h);
        return 0;
    }
    bool ends = (frame->hd.type == NGHTTP2_HEADERS || frame->hd.type == NGHTTP2_DATA) &&
                frame->hd.flags & NGHTTP2_FLAG_END_STREAM;
    if (ends && s && s->finished && !s->client && !s->ended)
        lt_h2_reset(s, NGHTTP2_NO_ERROR);
    return 0;
}

static nghttp2_session_callbacks *callbacks(void) {
    nghttp2_session_callbacks *c;
    if (nghttp2_session_callbacks_new(&c) != 0)
        return NULL;
    nghttp2_session_callbacks_set_on_begin_headers_callback(c, on_begin_headers);
    nghttp2_session_callbacks_set_on_header_callback(c, on_header);
    nghttp2_session_callbacks_set_on_invalid_header_callback(c, on_invalid_header);
    nghttp2_session_callbacks_set_on_frame_recv_callback(c, on_frame_recv);
    nghttp2_session_callbacks_set_on_frame_send_callback(c, on_frame_send);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(c, on_data_chunk);
    nghttp2_session_callbacks_set_on_stream_close_callback(c, on_stream_close);
    return c;
}

static bool open_session(struct lt_h2 *h) {
    nghttp2_session_callbacks *c = callbacks();
    nghttp2_option *o = NULL;
    bool ok = c && nghttp2_option_new(&o) == 0;
    if (ok) {
        nghttp2_option_set_no_auto_window_update(o, 1); // the exchange's reading opens windows
        nghttp2_option_set_no_closed_streams(o, 1);
        nghttp2_option_set_max_outbound_ack(o, 100);
        nghttp2_option_set_stream_reset_rate_limit(o, UINT32_MAX, UINT32_MAX); // ours (charge) says what it is about
        ok = nghttp2_session_server_new2(&h->session, c, h, o) == 0;
    }
    nghttp2_option_del(o);
    nghttp2_session_callbacks_del(c);
    const nghttp2_settings_entry settings[] = {
        {NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, LT_H2_STREAMS},
        {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, LT_H2_STREAM_WINDOW},
        {NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, (uint32_t)conf(h)->limits->head},
        {NGHTTP2_SETTINGS_ENABLE_CONNECT_PROTOCOL, 1},
    };
    return ok &&
           nghttp2_submit_settings(h->session, NGHTTP2_FLAG_NONE, settings, sizeof settings / sizeof *settings) == 0 &&
           nghttp2_session_set_local_window_size(h->session, NGHTTP2_FLAG_NONE, 0, LT_H2_CONNECTION_WINDOW) == 0;
}

// --- the connection ---

// All frames that there are, in as few writes as that goes; not more than the client takes.
static void on_flush(struct lt_task *t) {
    struct lt_h2 *h = LT_ENTRY(t, struct lt_h2, flush);
    struct lt_stream *to = &h->client->stream;
    struct lt_buf *batch = &h->client->worker->scratch;
    enum lt_err e = LT_OK;
    const uint8_t *frame;
    lt_buf_consume(batch, batch->len);
    ssize_t n = 0;
    while (e == LT_OK && lt_stream_pending(to) < PENDING_MAX) {
        while (batch->len < BATCH && (n = nghttp2_session_mem_send(h->session, &frame)) > 0)
            if (!lt_buf_append(batch, lt_span((const char *)frame, (size_t)n))) {
                e = LT_ERR_MEMORY;
                break;
            }
        if (batch->len == 0)
            break;
        struct lt_span text = lt_buf_span(batch);
        e = e == LT_OK ? lt_stream_write(to, &text, 1) : e;
        lt_buf_consume(batch, text.n);
    }
    bool quiet = !nghttp2_session_want_write(h->session);
    bool over = h->state == LT_H2_FAILED || (quiet && !nghttp2_session_want_read(h->session)) ||
                (quiet && h->state == LT_H2_LEAVING && h->n_streams == 0);
    if (e != LT_OK || n < 0 || (over && lt_stream_pending(to) == 0))
        lt_client_end(h->client, e == LT_OK);
}

void lt_h2_flush_soon(struct lt_h2 *h) {
    lt_loop_defer(loop(h), &h->flush);
}

void lt_h2_drained(struct lt_h2 *h) {
    lt_h2_flush_soon(h);
}

// Bytes of the connection.
static void take(struct lt_h2 *h, struct lt_span data) {
    ssize_t n = nghttp2_session_mem_recv(h->session, (const uint8_t *)data.p, data.n);
    lt_h2_flush_soon(h); // a GOAWAY, when it failed
    if (n < 0)
        h->state = LT_H2_FAILED;
}

void lt_h2_readable(struct lt_h2 *h) {
    char data[READ_SIZE];
    size_t got;
    if (h->state == LT_H2_FAILED) {
        lt_stream_want_read(&h->client->stream, false);
        return;
    }
    enum lt_err e = lt_stream_read(&h->client->stream, data, sizeof data, &got);
    if (e != LT_OK)
        lt_client_end(h->client, false);
    else if (got)
        take(h, lt_span(data, got));
}

struct lt_h2 *lt_h2_new(struct lt_client *c) {
    struct lt_h2 *h = calloc(1, sizeof *h);
    if (!h)
        return NULL;
    h->client = c;
    h->credit = CREDIT_MAX * 1000;
    h->credited_at = lt_clock_mono();
    lt_list_init(&h->streams);
    lt_task_init(&h->flush, on_flush);
    if (!open_session(h)) {
        nghttp2_session_del(h->session);
        free(h);
        return NULL;
    }
    set_timer(h);
    take(h, lt_inbox_span(&c->in));
    lt_inbox_fini(&c->in);
    if (lt_worker_drains(c->worker))
        lt_h2_drain(h);
    return h;
}

void lt_h2_free(struct lt_h2 *h) {
    for (struct lt_list *n = h->streams.next, *next; n != &h->streams; n = next) {
        next = n->next;
        struct lt_h2_stream *s = LT_ENTRY(n, struct lt_h2_stream, node);
        s->closed = true;
        if (s->client)
            lt_client_close(s->client); // which frees the stream
        else
            lt_h2_stream_free(s);
    }
    lt_task_cancel(&h->flush); // the last streams have asked for it
    nghttp2_session_del(h->session);
    free(h);
}

void lt_h2_forget(struct lt_h2 *h) {
    if (--h->n_streams == 0)
        set_timer(h);
    lt_h2_flush_soon(h);
}

// RFC 9113 section 6.8: first word of it, with all streams that are on their way still welcome; then the last of them is named.
static void say_goodbye(struct lt_h2 *h) {
    h->state = LT_H2_LEAVING;
    nghttp2_submit_goaway(h->session, NGHTTP2_FLAG_NONE, nghttp2_session_get_last_proc_stream_id(h->session),
                          NGHTTP2_NO_ERROR, NULL, 0);
    lt_h2_flush_soon(h);
}

// Nothing has happened for as long as one waits: for the rest of a head, for a request, or for the client to take what it is sent.
void lt_h2_timeout(struct lt_h2 *h) {
    if (h->state == LT_H2_NOTICED) {
        say_goodbye(h);
        set_timer(h);
        return;
    }
    struct lt_stream *s = &h->client->stream;
    bool busy = h->n_streams && !h->in_head;
    if (busy && (lt_stream_pending(s) == 0 || lt_stream_still_takes(s))) {
        set_timer(h); // the streams have limits of their own
        return;
    }
    if (lt_stream_pending(s)) {
        lt_client_end(h->client, false);
        return;
    }
    nghttp2_session_terminate_session(h->session, h->in_head ? NGHTTP2_ENHANCE_YOUR_CALM : NGHTTP2_NO_ERROR);
    h->state = LT_H2_FAILED;
    lt_h2_flush_soon(h);
}

static void each_client(struct lt_h2 *h, void (*act)(struct lt_client *c)) {
    for (struct lt_list *n = h->streams.next, *next; n != &h->streams; n = next) {
        next = n->next;
        struct lt_client *c = LT_ENTRY(n, struct lt_h2_stream, node)->client;
        if (c)
            act(c);
    }
}

static void tell_tunnel(struct lt_client *c) {
    if (c->state == LT_CLIENT_TUNNEL)
        lt_tunnel_drain(c->x);
}

void lt_h2_drain(struct lt_h2 *h) {
    if (lt_worker_closes(h->client->worker))
        each_client(h, tell_tunnel);
    if (h->state == LT_H2_OPEN) {
        h->state = LT_H2_NOTICED;
        nghttp2_submit_shutdown_notice(h->session);
        lt_h2_flush_soon(h);
        lt_timer_set(loop(h), &h->client->timer, NOTICE_MS);
    } else if (h->state == LT_H2_NOTICED) {
        say_goodbye(h);
    }
}

void lt_h2_cut(struct lt_h2 *h) {
    each_client(h, lt_client_cut);
    for (struct lt_list *n = h->streams.next; n != &h->streams; n = n->next) {
        struct lt_h2_stream *s = LT_ENTRY(n, struct lt_h2_stream, node);
        if (!s->client && !s->closed) // an answer that is not taken
            lt_h2_reset(s, NGHTTP2_CANCEL);
    }
    if (h->state < LT_H2_LEAVING)
        say_goodbye(h);
}
