// SPDX-License-Identifier: Apache-2.0
// One request: from fields to the head that they mean, and the stream that is no socket.
#include "h2_session.h"

#include "crypto/token.h"

#include <openssl/evp.h>
#include <stdlib.h>

static enum lt_err read_in(struct lt_stream *v, void *into, size_t size, size_t *got);
static void written(struct lt_stream *v);
static void shut(struct lt_stream *v);
static void closed(struct lt_stream *v);
static const struct lt_virtual_ops ops = {read_in, written, shut, closed};

// --- the request: the head that it means in HTTP/1.1, which the parser then reads as strictly as any ---

static size_t head_limit(const struct lt_h2_stream *s) {
    return (size_t)lt_h2_conf(s)->limits->head;
}

// A pseudo-header stands at the beginning of a line of the head: nothing may end it early.
static bool is_visible(struct lt_span value) {
    for (size_t i = 0; i < value.n; i++)
        if ((unsigned char)value.p[i] <= ' ' || value.p[i] == 0x7f)
            return false;
    return value.n > 0;
}

static bool has(const struct lt_h2_stream *s, enum lt_h2_pseudo p) {
    return s->pseudos[p].set;
}

// Empty when it was not sent.
static struct lt_span value_of(const struct lt_h2_stream *s, enum lt_h2_pseudo p) {
    struct lt_span all = lt_buf_span(&s->pseudo);
    return has(s, p) && all.p ? lt_span(all.p + s->pseudos[p].at, s->pseudos[p].n) : LT_S("");
}

static bool add_pseudo(struct lt_h2_stream *s, struct lt_span name, struct lt_span value) {
    static const struct lt_span names[] = {
        [LT_H2_METHOD] = {":method", 7}, [LT_H2_SCHEME] = {":scheme", 7},     [LT_H2_AUTHORITY] = {":authority", 10},
        [LT_H2_PATH] = {":path", 5},     [LT_H2_PROTOCOL] = {":protocol", 9},
    };
    unsigned p = 0;
    while (p < LT_H2_PSEUDOS && !lt_span_eq(name, names[p]))
        p++;
    if (p == LT_H2_PSEUDOS || s->pseudos[p].set || !is_visible(value))
        return false;
    s->pseudos[p].set = true;
    s->pseudos[p].at = s->pseudo.len;
    s->pseudos[p].n = value.n;
    if (!lt_buf_append(&s->pseudo, value))
        s->too_large = true;
    return true;
}

static bool add_line(struct lt_buf *to, struct lt_span name, struct lt_span value) {
    return lt_buf_append(to, name) && lt_buf_append(to, LT_S(": ")) && lt_buf_append(to, value) &&
           lt_buf_append(to, LT_S("\r\n"));
}

// Crumbs of cookies become one field again (RFC 9113 section 8.2.3).
static bool add_cookie(struct lt_h2_stream *s, struct lt_span value) {
    return (s->cookies.len == 0 || lt_buf_append(&s->cookies, LT_S("; "))) && lt_buf_append(&s->cookies, value);
}

bool lt_h2_stream_field(struct lt_h2_stream *s, struct lt_span name, struct lt_span value) {
    if (s->too_large)
        return true; // answered 431
    if (s->in_trailers)
        return lt_field_value_ok(value) && name.n && name.p[0] != ':' && add_line(&s->trailers_in, name, value);
    if (name.n && name.p[0] == ':')
        return add_pseudo(s, name, value);
    if (!lt_field_value_ok(value) || !lt_token_ok(name))
        return false;
    // ":authority" and "host" say the same, or the request is malformed (RFC 9113 section 8.3.1): the second one is left out, or stands
    // beside the first, where the parser refuses it.
    if (lt_span_eq(name, LT_S("host")) && !s->has_host && has(s, LT_H2_AUTHORITY) &&
        lt_span_eq_nocase(lt_span_trim(value), value_of(s, LT_H2_AUTHORITY))) {
        s->has_host = true;
        return true;
    }
    unsigned long long length;
    if (lt_span_eq(name, LT_S("content-length")) && lt_span_to_u64(value, 0, &length))
        s->empty = true;
    bool ok = lt_span_eq(name, LT_S("cookie")) ? add_cookie(s, value) : add_line(&s->fields, name, value);
    if (!ok)
        s->too_large = true;
    return true;
}

// RFC 8441 section 5: what a GET with "Upgrade: websocket" is in HTTP/1.1. The key is ours, and the answer to it is checked here.
static bool add_upgrade(struct lt_h2_stream *s) {
    uint8_t random[16];
    if (!lt_random(random, sizeof random))
        return false;
    EVP_EncodeBlock((unsigned char *)s->key, random, sizeof random);
    return add_line(&s->in, LT_S("Connection"), LT_S("Upgrade")) &&
           add_line(&s->in, LT_S("Upgrade"), value_of(s, LT_H2_PROTOCOL)) &&
           add_line(&s->in, LT_S("Sec-WebSocket-Key"), lt_span(s->key, 24));
}

static bool write_head(struct lt_h2_stream *s) {
    bool upgrade = has(s, LT_H2_PROTOCOL);
    struct lt_buf *in = &s->in;
    bool ok = lt_buf_append(in, upgrade ? LT_S("GET") : value_of(s, LT_H2_METHOD)) && lt_buf_append(in, LT_S(" ")) &&
              lt_buf_append(in, value_of(s, has(s, LT_H2_PATH) ? LT_H2_PATH : LT_H2_AUTHORITY)) &&
              lt_buf_append(in, LT_S(" HTTP/1.1\r\n"));
    if (has(s, LT_H2_AUTHORITY))
        ok = ok && add_line(in, LT_S("Host"), value_of(s, LT_H2_AUTHORITY));
    ok = ok && lt_buf_append(in, lt_buf_span(&s->fields));
    if (s->cookies.len)
        ok = ok && add_line(in, LT_S("Cookie"), lt_buf_span(&s->cookies));
    if (upgrade)
        ok = ok && add_upgrade(s);
    return ok && lt_buf_append(in, LT_S("\r\n"));
}

static bool refuse(struct lt_h2_stream *s, const char *status, unsigned reason) {
    const nghttp2_nv nv = {(uint8_t *)(uintptr_t) ":status", (uint8_t *)(uintptr_t)status, 7, 3, 0};
    lt_worker_count(lt_h2_worker(s), LT_M_REJECTS + reason, 1);
    s->begun = s->finished = true;
    return nghttp2_submit_response(s->h2->session, s->id, &nv, 1, NULL) == 0;
}

bool lt_h2_stream_begin(struct lt_h2_stream *s) {
    if (s->too_large)
        return refuse(s, "431", LT_H1_TOO_LARGE);
    if (has(s, LT_H2_PROTOCOL) && !lt_span_eq(value_of(s, LT_H2_PROTOCOL), LT_S("websocket")))
        return refuse(s, "501", LT_REJECT_METHOD); // RFC 8441 section 5.2
    if (s->empty && !s->ended) {
        lt_timer_set(&lt_h2_worker(s)->loop, &s->timer, lt_h2_conf(s)->timeouts->head);
        return true;
    }
    lt_timer_clear(&lt_h2_worker(s)->loop, &s->timer);
    if (!has(s, LT_H2_METHOD) || !write_head(s))
        return false;
    s->begun = true;
    s->has_body = !s->ended;
    s->head_left = s->in.len;
    lt_buf_fini(&s->fields);
    lt_buf_fini(&s->cookies);
    s->client = lt_client_new_virtual(lt_h2_worker(s), &s->virtual, s->h2->client);
    if (s->client)
        lt_h2_tell_soon(s);
    return s->client != NULL;
}

bool lt_h2_stream_ended(struct lt_h2_stream *s) {
    s->ended = true;
    lt_h2_tell_soon(s);
    return s->begun || !s->empty || lt_h2_stream_begin(s);
}

bool lt_h2_stream_data(struct lt_h2_stream *s, struct lt_span data) {
    if (!lt_buf_append(&s->in, data))
        return false;
    lt_h2_tell_soon(s);
    return true;
}

const struct lt_client *lt_h2_connection(const struct lt_client *c) {
    return lt_h2_stream_of(c)->h2->client;
}

bool lt_h2_has_body(const struct lt_client *c) {
    return lt_h2_stream_of(c)->has_body;
}

bool lt_h2_request_trailers(struct lt_client *c, struct lt_body *b) {
    struct lt_span rest = lt_buf_span(&lt_h2_stream_of(c)->trailers_in);
    while (rest.p && rest.n) {
        size_t n = lt_span_find(rest, '\n');
        if (!lt_body_trailer(b, lt_span(rest.p, n - 1)))
            return false;
        rest = lt_span(rest.p + n + 1, rest.n - n - 1);
    }
    return true;
}

// --- the stream, as the exchange's client sees it ---

// What is read opens the windows again.
static enum lt_err read_in(struct lt_stream *v, void *into, size_t size, size_t *got) {
    struct lt_h2_stream *s = LT_ENTRY(v->virtual, struct lt_h2_stream, virtual);
    struct lt_span data = lt_buf_span(&s->in);
    size_t n = data.n < size ? data.n : size, head = n < s->head_left ? n : s->head_left;
    *got = n;
    if (n == 0 || !data.p)
        return s->ended ? LT_ERR_CLOSED : LT_OK;
    memcpy(into, data.p, n);
    lt_buf_consume(&s->in, n);
    s->head_left -= head;
    if (n > head && !s->closed) {
        nghttp2_session_consume(s->h2->session, s->id, n - head);
        lt_h2_flush_soon(s->h2);
    }
    if (s->in.len == 0)
        lt_buf_fini(&s->in);
    return LT_OK;
}

// Something was written, uncorked, or is to be read: looked at when the exchange has returned.
static void written(struct lt_stream *v) {
    lt_h2_tell_soon(LT_ENTRY(v->virtual, struct lt_h2_stream, virtual));
}

// A tunnel's other end has said all; this one may go on.
static void shut(struct lt_stream *v) {
    struct lt_h2_stream *s = LT_ENTRY(v->virtual, struct lt_h2_stream, virtual);
    s->finished = true;
    lt_h2_tell_soon(s);
}

void lt_h2_stream_free(struct lt_h2_stream *s) {
    struct lt_h2 *h = s->h2;
    size_t unread = s->in.len > s->head_left ? s->in.len - s->head_left : 0;
    if (unread)
        nghttp2_session_consume_connection(h->session, unread);
    if (!s->closed)
        nghttp2_session_set_stream_user_data(h->session, s->id, NULL);
    lt_task_cancel(&s->tell);
    lt_timer_clear(&lt_h2_worker(s)->loop, &s->timer);
    lt_list_remove(&s->node);
    lt_buf_fini(&s->in);
    lt_buf_fini(&s->fields);
    lt_buf_fini(&s->cookies);
    lt_buf_fini(&s->pseudo);
    lt_buf_fini(&s->trailers_in);
    lt_buf_fini(&s->out);
    lt_h2_fields_free(&s->head);
    lt_h2_fields_free(&s->trailers);
    free(s);
    lt_h2_forget(h);
}

void lt_h2_reset(struct lt_h2_stream *s, uint32_t code) {
    s->given_up = true;
    nghttp2_submit_rst_stream(s->h2->session, NGHTTP2_FLAG_NONE, s->id, code);
    lt_h2_flush_soon(s->h2);
}

// The client is done with the stream. Without lt_h2_finish() before, its answer is not whole. Of an answer that has been sent to its
// end, the rest of the request is not wanted.
static void closed(struct lt_stream *v) {
    struct lt_h2_stream *s = LT_ENTRY(v->virtual, struct lt_h2_stream, virtual);
    s->client = NULL;
    if (s->closed) {
        lt_h2_stream_free(s);
    } else if (!s->finished) {
        lt_h2_reset(s, NGHTTP2_INTERNAL_ERROR);
    } else if (nghttp2_session_get_stream_local_close(s->h2->session, s->id) == 1) {
        lt_h2_reset(s, NGHTTP2_NO_ERROR);
    }
}

void lt_h2_stream_closed(struct lt_h2_stream *s) {
    s->closed = true;
    if (s->client)
        lt_h2_tell_soon(s);
    else
        lt_h2_stream_free(s);
}

// What the exchange has said goes to nghttp2.
static void send_on(struct lt_h2_stream *s) {
    bool corked = s->client && s->client->stream.corked;
    if (s->closed || corked)
        return;
    if (s->head && !s->submitted)
        lt_h2_submit_head(s);
    else if (s->submitted)
        nghttp2_session_resume_data(s->h2->session, s->id);
    if (s->trailers_due) {
        s->trailers_due = false;
        nghttp2_submit_trailer(s->h2->session, s->id, s->trailers->nv, s->trailers->n);
        lt_h2_fields_free(&s->trailers);
    }
    lt_h2_flush_soon(s->h2);
}

static void tell(struct lt_task *t) {
    struct lt_h2_stream *s = LT_ENTRY(t, struct lt_h2_stream, tell);
    struct lt_client *c = s->client;
    if (s->closed && c) {
        lt_client_close(c); // the stream goes with it
        return;
    }
    send_on(s);
    if (!c)
        return;
    if (s->wants_drained && c->stream.out.len == 0) {
        s->wants_drained = false;
        lt_h2_tell_soon(s); // there may be more to say; and the client may be gone after this
        c->stream.ops->drained(&c->stream);
        return;
    }
    if (c->stream.reading && (s->in.len || s->ended)) {
        lt_h2_tell_soon(s);
        c->stream.ops->readable(&c->stream);
    }
}

static void on_timer(struct lt_timer *t) {
    struct lt_h2_stream *s = LT_ENTRY(t, struct lt_h2_stream, timer);
    if (s->closed || (s->begun && s->out.len == 0))
        return;
    if (s->begun && s->moved != s->moved_seen) {
        s->moved_seen = s->moved;
        lt_timer_set(&lt_h2_worker(s)->loop, t, lt_h2_conf(s)->timeouts->upstream);
        return;
    }
    lt_h2_reset(s, NGHTTP2_CANCEL);
}

struct lt_h2_stream *lt_h2_stream_new(struct lt_h2 *h, int32_t id) {
    struct lt_h2_stream *s = calloc(1, sizeof *s);
    if (!s)
        return NULL;
    s->virtual.ops = &ops;
    s->h2 = h;
    s->id = id;
    size_t head = head_limit(s);
    lt_buf_init(&s->pseudo, head);
    lt_buf_init(&s->fields, head);
    lt_buf_init(&s->cookies, head);
    lt_buf_init(&s->trailers_in, 8 << 10);
    lt_buf_init(&s->in, 3 * head + LT_H2_STREAM_WINDOW + 1024);
    lt_task_init(&s->tell, tell);
    lt_timer_init(&s->timer, on_timer);
    lt_list_append(&h->streams, &s->node);
    h->n_streams++;
    return s;
}
