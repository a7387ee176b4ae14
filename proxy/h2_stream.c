// SPDX-License-Identifier: Apache-2.0
// One request and its answer: the stream that is no socket.
#include "h2_session.h"

#include "crypto/token.h"

#include <openssl/evp.h>
#include <stdlib.h>

static enum lt_err read_in(struct lt_stream *v, void *into, size_t size, size_t *got);
static void written(struct lt_stream *v);
static void shut(struct lt_stream *v);
static void closed(struct lt_stream *v);
static const struct lt_virtual_ops ops = {read_in, written, shut, closed};

static struct lt_h2_stream *of(const struct lt_client *c) {
    return LT_ENTRY(c->stream.virtual, struct lt_h2_stream, virtual);
}

static struct lt_worker *worker(const struct lt_h2_stream *s) {
    return s->h2->client->worker;
}

static const struct lt_core_conf *conf(const struct lt_h2_stream *s) {
    return &worker(s)->generation->snapshot->core;
}

static void tell_soon(struct lt_h2_stream *s) {
    lt_loop_defer(&worker(s)->loop, &s->tell);
}

static struct lt_buf *out_of(struct lt_h2_stream *s) {
    return s->client ? &s->client->stream.out : &s->out;
}

// --- the request: the head that it means in HTTP/1.1, which the parser then reads as strictly as any ---

static size_t head_limit(const struct lt_h2_stream *s) {
    return (size_t)conf(s)->limits->head;
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
    return has(s, p) ? lt_span(lt_buf_span(&s->pseudo).p + s->pseudos[p].at, s->pseudos[p].n) : LT_S("");
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
    if (lt_span_eq(name, LT_S("host")))
        s->has_host = true;
    if (lt_span_eq(name, LT_S("content-length")) && lt_span_eq(value, LT_S("0")))
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

// ":authority" and "host" say the same, or the request is malformed (RFC 9113 section 8.3.1): the second one is left out, or stands
// beside the first, where the parser refuses it.
static void join_hosts(struct lt_h2_stream *s) {
    struct lt_span rest = lt_buf_span(&s->fields), kept = rest;
    if (!s->has_host || !has(s, LT_H2_AUTHORITY))
        return;
    size_t end = lt_span_find(rest, '\n') + 1, at = 0;
    while (at < rest.n) {
        struct lt_span line = lt_span(rest.p + at, end - at), prefix = LT_S("host: ");
        bool same = lt_span_starts(line, prefix) &&
                    lt_span_eq_nocase(lt_span_trim(lt_span(line.p + prefix.n, line.n - prefix.n - 2)),
                                      value_of(s, LT_H2_AUTHORITY));
        if (same) {
            size_t behind = kept.n - end;
            memmove((char *)(uintptr_t)(kept.p + at), kept.p + end, behind);
            s->fields.len -= line.n;
            return;
        }
        at = end;
        end = at + lt_span_find(lt_span(rest.p + at, rest.n - at), '\n') + 1;
    }
}

static bool refuse(struct lt_h2_stream *s, const char *status, unsigned reason) {
    const nghttp2_nv nv = {(uint8_t *)(uintptr_t) ":status", (uint8_t *)(uintptr_t)status, 7, 3, 0};
    lt_worker_count(worker(s), LT_M_REJECTS + reason, 1);
    s->begun = true;
    return nghttp2_submit_response(s->h2->session, s->id, &nv, 1, NULL) == 0;
}

bool lt_h2_stream_begin(struct lt_h2_stream *s) {
    if (s->too_large)
        return refuse(s, "431", LT_H1_TOO_LARGE);
    if (has(s, LT_H2_PROTOCOL) && !lt_span_eq(value_of(s, LT_H2_PROTOCOL), LT_S("websocket")))
        return refuse(s, "501", LT_REJECT_METHOD); // RFC 8441 section 5.2
    if (s->empty && !s->ended) {
        lt_timer_set(&worker(s)->loop, &s->timer, conf(s)->timeouts->head);
        return true;
    }
    lt_timer_clear(&worker(s)->loop, &s->timer);
    join_hosts(s);
    if (!has(s, LT_H2_METHOD) || !write_head(s))
        return false;
    s->begun = true;
    s->has_body = !s->ended;
    s->head_left = s->in.len;
    lt_buf_fini(&s->fields);
    lt_buf_fini(&s->cookies);
    s->client = lt_client_new_virtual(worker(s), &s->virtual, s->h2->client);
    if (s->client)
        tell_soon(s);
    return s->client != NULL;
}

bool lt_h2_stream_ended(struct lt_h2_stream *s) {
    s->ended = true;
    tell_soon(s);
    return s->begun || !s->empty || lt_h2_stream_begin(s);
}

bool lt_h2_stream_data(struct lt_h2_stream *s, struct lt_span data) {
    if (!lt_buf_append(&s->in, data))
        return false;
    tell_soon(s);
    return true;
}

const struct lt_client *lt_h2_connection(const struct lt_client *c) {
    return of(c)->h2->client;
}

bool lt_h2_has_body(const struct lt_client *c) {
    return of(c)->has_body;
}

bool lt_h2_is_connect(const struct lt_client *c) {
    return has(of(c), LT_H2_PROTOCOL);
}

bool lt_h2_request_trailers(struct lt_client *c, struct lt_body *b) {
    struct lt_span rest = lt_buf_span(&of(c)->trailers_in);
    while (rest.n) {
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
    tell_soon(LT_ENTRY(v->virtual, struct lt_h2_stream, virtual));
}

// A tunnel's other end has said all; this one may go on.
static void shut(struct lt_stream *v) {
    struct lt_h2_stream *s = LT_ENTRY(v->virtual, struct lt_h2_stream, virtual);
    s->finished = true;
    tell_soon(s);
}

static void drop_fields(struct lt_h2_fields **f) {
    free(*f);
    *f = NULL;
}

void lt_h2_stream_free(struct lt_h2_stream *s) {
    struct lt_h2 *h = s->h2;
    size_t unread = s->in.len > s->head_left ? s->in.len - s->head_left : 0;
    if (unread)
        nghttp2_session_consume_connection(h->session, unread);
    if (!s->closed)
        nghttp2_session_set_stream_user_data(h->session, s->id, NULL);
    lt_task_cancel(&s->tell);
    lt_timer_clear(&worker(s)->loop, &s->timer);
    lt_list_remove(&s->node);
    lt_buf_fini(&s->in);
    lt_buf_fini(&s->fields);
    lt_buf_fini(&s->cookies);
    lt_buf_fini(&s->pseudo);
    lt_buf_fini(&s->trailers_in);
    lt_buf_fini(&s->out);
    drop_fields(&s->head);
    drop_fields(&s->trailers);
    free(s);
    lt_h2_forget(h);
}

// The client is done with the stream. Without lt_h2_finish() before, its answer is not whole.
static void closed(struct lt_stream *v) {
    struct lt_h2_stream *s = LT_ENTRY(v->virtual, struct lt_h2_stream, virtual);
    s->client = NULL;
    if (s->closed) {
        lt_h2_stream_free(s);
    } else if (!s->finished) {
        nghttp2_submit_rst_stream(s->h2->session, NGHTTP2_FLAG_NONE, s->id, NGHTTP2_INTERNAL_ERROR);
        lt_h2_flush_soon(s->h2);
    }
}

void lt_h2_stream_closed(struct lt_h2_stream *s) {
    s->closed = true;
    if (s->client)
        tell_soon(s);
    else
        lt_h2_stream_free(s);
}

// --- the answer ---

// Copies of all in one piece of memory. `status` 0: trailers.
static struct lt_h2_fields *pack(int status, const struct lt_headers *h, const struct lt_h1_out *how) {
    size_t n = 2, bytes = 64;
    for (unsigned i = 0; i < h->n; i++)
        if (!h->v[i].dropped)
            n++, bytes += h->v[i].name.n + h->v[i].value.n;
    struct lt_h2_fields *f = malloc(sizeof *f + n * sizeof *f->nv + bytes);
    if (!f)
        return NULL;
    char *text = (char *)(f->nv + n);
    f->n = 0;
#define PUT(name_, value_)                                                                                             \
    do {                                                                                                               \
        struct lt_span a = (name_), b = (value_);                                                                      \
        for (size_t k = 0; k < a.n; k++)                                                                               \
            text[k] = lt_ascii_lower(a.p[k]);                                                                          \
        if (b.n)                                                                                                       \
            memcpy(text + a.n, b.p, b.n);                                                                              \
        f->nv[f->n++] = (nghttp2_nv){(uint8_t *)text, (uint8_t *)text + a.n, a.n, b.n, NGHTTP2_NV_FLAG_NONE};          \
        text += a.n + b.n;                                                                                             \
    } while (0)
    char number[LT_NUMBER_TEXT];
    if (status)
        PUT(LT_S(":status"), lt_span_number(number, (uint64_t)status));
    for (unsigned i = 0; i < h->n; i++)
        if (!h->v[i].dropped)
            PUT(h->v[i].name, h->v[i].value);
    if (how && how->kind == LT_BODY_LENGTH)
        PUT(LT_S("content-length"), lt_span_number(number, how->length));
#undef PUT
    return f;
}

// RFC 6455 section 4.2.2: only a WebSocket server that has read our key can say this.
static bool accepts(const struct lt_h2_stream *s, const struct lt_h1_head *head) {
    static const char guid[] = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
    const struct lt_header *f = lt_headers_find(&head->headers, LT_S("Sec-WebSocket-Accept"));
    unsigned char digest[EVP_MAX_MD_SIZE], want[32];
    char text[24 + sizeof guid];
    memcpy(text, s->key, 24);
    memcpy(text + 24, guid, sizeof guid);
    unsigned n;
    return f && EVP_Digest(text, sizeof text - 1, digest, &n, EVP_sha1(), NULL) == 1 &&
           lt_span_eq(f->value, lt_span((const char *)want, (size_t)EVP_EncodeBlock(want, digest, (int)n)));
}

bool lt_h2_head(struct lt_client *c, const struct lt_h1_head *head, const struct lt_h1_out *how) {
    struct lt_h2_stream *s = of(c);
    bool tunnel = head->status == 101;
    int status = tunnel ? 200 : head->status;
    if (has(s, LT_H2_PROTOCOL) && (tunnel ? !accepts(s, head) : status < 300))
        return false; // "200" would mean that the tunnel stands
    drop_fields(&s->head);
    s->head = pack(status, &head->headers, how);
    s->head_is_all =
        !tunnel && (how->kind == LT_BODY_NONE || how->head_length || (how->kind == LT_BODY_LENGTH && how->length == 0));
    tell_soon(s);
    return s->head != NULL;
}

bool lt_h2_interim(struct lt_client *c, const struct lt_h1_head *head) {
    struct lt_h2_stream *s = of(c);
    struct lt_h2_fields *f = pack(head->status, &head->headers, NULL);
    bool ok = f && (s->closed ||
                    nghttp2_submit_headers(s->h2->session, NGHTTP2_FLAG_NONE, s->id, NULL, f->nv, f->n, NULL) == 0);
    free(f);
    lt_h2_flush_soon(s->h2);
    return ok;
}

bool lt_h2_trailers(struct lt_client *c, const struct lt_headers *trailers) {
    struct lt_h2_stream *s = of(c);
    if (trailers->n == 0 || s->trailers)
        return true;
    s->trailers = pack(0, trailers, NULL);
    return s->trailers != NULL;
}

void lt_h2_finish(struct lt_client *c) {
    struct lt_h2_stream *s = of(c);
    s->finished = true;
    s->out = c->stream.out; // sent when the client has moved on
    lt_buf_init(&c->stream.out, 0);
    if (s->out.len)
        lt_timer_set(&worker(s)->loop, &s->timer, conf(s)->timeouts->upstream);
    tell_soon(s);
}

ssize_t lt_h2_stream_source(nghttp2_session *session, int32_t id, uint8_t *to, size_t size, uint32_t *flags,
                            nghttp2_data_source *source, void *user) {
    struct lt_h2_stream *s = source->ptr;
    struct lt_buf *out = out_of(s);
    (void)session, (void)id, (void)user;
    bool held = s->client && s->client->stream.corked;
    size_t n = held ? 0 : out->len < size ? out->len : size;
    struct lt_span text = lt_buf_span(out);
    if (n && text.p)
        memcpy(to, text.p, n);
    lt_buf_consume(out, n);
    s->moved += (uint32_t)n;
    if (s->client) {
        s->client->stream.sent += (uint32_t)n;
        if (n && out->len == 0) {
            s->wants_drained = true;
            tell_soon(s);
        }
    }
    if (out->len || held)
        return n ? (ssize_t)n : NGHTTP2_ERR_DEFERRED;
    lt_buf_fini(out);
    if (!s->finished)
        return n ? (ssize_t)n : NGHTTP2_ERR_DEFERRED;
    *flags |= NGHTTP2_DATA_FLAG_EOF;
    if (s->trailers) {
        *flags |= NGHTTP2_DATA_FLAG_NO_END_STREAM;
        s->trailers_due = true;
        tell_soon(s);
    }
    return (ssize_t)n;
}

static void submit_head(struct lt_h2_stream *s) {
    nghttp2_data_provider provider = {.source.ptr = s, .read_callback = lt_h2_stream_source};
    bool all = s->head_is_all || (s->finished && out_of(s)->len == 0 && !s->trailers);
    nghttp2_submit_response(s->h2->session, s->id, s->head->nv, s->head->n, all ? NULL : &provider);
    s->submitted = true;
    drop_fields(&s->head);
    if (all && s->finished)
        s->trailers_due = false;
}

// What the exchange has said goes to nghttp2.
static void send_on(struct lt_h2_stream *s) {
    bool corked = s->client && s->client->stream.corked;
    if (s->closed || corked)
        return;
    if (s->head && !s->submitted)
        submit_head(s);
    else if (s->submitted)
        nghttp2_session_resume_data(s->h2->session, s->id);
    if (s->trailers_due) {
        s->trailers_due = false;
        nghttp2_submit_trailer(s->h2->session, s->id, s->trailers->nv, s->trailers->n);
        drop_fields(&s->trailers);
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
        tell_soon(s); // there may be more to say; and the client may be gone after this
        c->stream.ops->drained(&c->stream);
        return;
    }
    if (c->stream.reading && (s->in.len || s->ended)) {
        tell_soon(s);
        c->stream.ops->readable(&c->stream);
    }
}

static void on_timer(struct lt_timer *t) {
    struct lt_h2_stream *s = LT_ENTRY(t, struct lt_h2_stream, timer);
    if (s->closed || (s->begun && s->out.len == 0))
        return;
    if (s->begun && s->moved != s->moved_seen) {
        s->moved_seen = s->moved;
        lt_timer_set(&worker(s)->loop, t, conf(s)->timeouts->upstream);
        return;
    }
    nghttp2_submit_rst_stream(s->h2->session, NGHTTP2_FLAG_NONE, s->id, NGHTTP2_CANCEL);
    lt_h2_flush_soon(s->h2);
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
