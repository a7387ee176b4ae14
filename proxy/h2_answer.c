// SPDX-License-Identifier: Apache-2.0
// One answer: the exchange's head in nghttp2's form, the body as the client takes it, trailers.
#include "h2_session.h"

#include <openssl/evp.h>

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

bool lt_h2_takes(const struct lt_client *c, const struct lt_h1_head *head) {
    const struct lt_h2_stream *s = lt_h2_stream_of(c);
    return !s->pseudos[LT_H2_PROTOCOL].set || (head->status == 101 ? accepts(s, head) : head->status >= 300);
}

bool lt_h2_head(struct lt_client *c, const struct lt_h1_head *head, const struct lt_h1_out *how) {
    struct lt_h2_stream *s = lt_h2_stream_of(c);
    bool tunnel = head->status == 101;
    if (!lt_h2_takes(c, head))
        return false;
    lt_h2_fields_free(&s->head);
    s->head = pack(tunnel ? 200 : head->status, &head->headers, how);
    s->head_is_all =
        !tunnel && (how->kind == LT_BODY_NONE || how->head_length || (how->kind == LT_BODY_LENGTH && how->length == 0));
    lt_h2_tell_soon(s);
    return s->head != NULL;
}

bool lt_h2_interim(struct lt_client *c, const struct lt_h1_head *head) {
    struct lt_h2_stream *s = lt_h2_stream_of(c);
    struct lt_h2_fields *f = pack(head->status, &head->headers, NULL);
    bool ok = f && (s->closed ||
                    nghttp2_submit_headers(s->h2->session, NGHTTP2_FLAG_NONE, s->id, NULL, f->nv, f->n, NULL) == 0);
    free(f);
    lt_h2_flush_soon(s->h2);
    return ok;
}

bool lt_h2_trailers(struct lt_client *c, const struct lt_headers *trailers) {
    struct lt_h2_stream *s = lt_h2_stream_of(c);
    if (trailers->n == 0 || s->trailers)
        return true;
    s->trailers = pack(0, trailers, NULL);
    return s->trailers != NULL;
}

void lt_h2_finish(struct lt_client *c) {
    struct lt_h2_stream *s = lt_h2_stream_of(c);
    s->finished = true;
    s->out = c->stream.out; // sent when the client has moved on
    lt_buf_init(&c->stream.out, 0);
    if (s->out.len)
        lt_timer_set(&lt_h2_worker(s)->loop, &s->timer, lt_h2_conf(s)->timeouts->upstream);
    lt_h2_tell_soon(s);
}

static ssize_t source_of(nghttp2_session *session, int32_t id, uint8_t *to, size_t size, uint32_t *flags,
                         nghttp2_data_source *source, void *user) {
    struct lt_h2_stream *s = source->ptr;
    struct lt_buf *out = lt_h2_out(s);
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
            lt_h2_tell_soon(s);
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
        lt_h2_tell_soon(s);
    }
    return (ssize_t)n;
}

void lt_h2_submit_head(struct lt_h2_stream *s) {
    nghttp2_data_provider provider = {.source.ptr = s, .read_callback = source_of};
    bool all = s->head_is_all || (s->finished && lt_h2_out(s)->len == 0 && !s->trailers);
    nghttp2_submit_response(s->h2->session, s->id, s->head->nv, s->head->n, all ? NULL : &provider);
    s->submitted = true;
    lt_h2_fields_free(&s->head);
}
