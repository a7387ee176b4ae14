// SPDX-License-Identifier: Apache-2.0
// Answers of lethe's own: errors and what modules reply.
#include "exchange.h"

#include <stdio.h>

enum { FIELDS = 12 };

// In a table of its own: an error is told also when the exchange's arena is used up.
static bool describe(struct lt_h1_head *head, struct lt_header table[FIELDS], int status, const char *reason,
                     const char *type, const struct lt_headers *extra) {
    *head = (struct lt_h1_head){.status = status, .minor = 1, .headers = {.v = table, .cap = FIELDS}};
    bool ok = status == 204 || lt_headers_add(&head->headers, lt_hdr_name(LT_HDR_CONTENT_TYPE),
                                              lt_span_cstr(type ? type : "text/plain; charset=utf-8"));
    if (reason)
        ok = ok && lt_headers_add(&head->headers, LT_S("X-Lethe-Error"), lt_span_cstr(reason));
    if (status == 503)
        ok = ok && lt_headers_add(&head->headers, LT_S("Retry-After"), LT_S("1"));
    if (status == 405 && !(extra && lt_headers_find(extra, LT_S("Allow"))))
        ok = ok && lt_headers_add(&head->headers, LT_S("Allow"), LT_S("GET, HEAD"));
    for (unsigned i = 0; extra && i < extra->n; i++)
        ok = ok && lt_headers_add(&head->headers, extra->v[i].name, extra->v[i].value);
    return ok && lt_headers_add(&head->headers, LT_S("Cache-Control"), LT_S("no-store"));
}

bool lt_reply_open(struct lt_exchange *x, const char *type, enum lt_body_kind kind) {
    struct lt_h1_head head;
    struct lt_header table[FIELDS];
    struct lt_buf *out = &x->worker->scratch;
    x->replied = x->head_released = true;
    x->status = 200;
    if (!lt_body_done(&x->request_body) || kind == LT_BODY_CLOSE)
        x->keep = false;
    struct lt_h1_out how = {.kind = kind, .close = !x->keep, .head_length = x->request.method == LT_METHOD_HEAD};
    bool ok = describe(&head, table, 200, NULL, type, x->reply_extra) && lt_client_head(x->client, out, &head, &how);
    struct lt_span text = lt_buf_span(out);
    ok = ok && lt_stream_write(&x->client->stream, &text, 1) == LT_OK;
    lt_buf_consume(out, text.n);
    return ok;
}

void lt_reply(struct lt_exchange *x, int status, const char *reason, const char *type, struct lt_span body, bool close) {
    struct lt_h1_head head;
    struct lt_header table[FIELDS];
    char line[128];
    struct lt_buf *out = &x->worker->scratch;
    if (!body.p) {
        struct lt_span phrase = lt_http_reason(status);
        int n = snprintf(line, sizeof line, "%d %.*s%s%s\n", status, (int)phrase.n, phrase.p, reason ? ": " : "",
                         reason ? reason : "");
        body = lt_span(line, (size_t)n < sizeof line ? (size_t)n : sizeof line - 1);
    }
    x->replied = true;
    x->status = status;
    x->reason = reason;
    x->bytes = body.n;
    bool unread = !lt_body_done(&x->request_body);
    if (close || unread || x->request_framing.kind == LT_BODY_CLOSE || lt_worker_drains(x->worker))
        x->keep = false;
    struct lt_client *c = x->client;
    lt_buf_consume(out, out->len);
    if (c && c->stream.corked) { // what was held back is not to be seen
        lt_buf_fini(&c->stream.out);
        c->stream.corked = false;
    }
    x->head_released = true;
    struct lt_h1_out how = {.kind = status == 204 ? LT_BODY_NONE : LT_BODY_LENGTH,
                            .length = body.n,
                            .head_length = x->request.method == LT_METHOD_HEAD,
                            .close = !x->keep,
                            .keep_alive = x->keep && x->request.minor == 0};
    bool ok = !c || (describe(&head, table, status, reason, type, x->reply_extra) && lt_client_head(c, out, &head, &how));
    if (c && ok) {
        struct lt_span pieces[] = {lt_buf_span(out), body};
        ok = lt_stream_write(&c->stream, pieces, x->request.method == LT_METHOD_HEAD ? 1 : 2) == LT_OK;
    }
    lt_buf_consume(out, out->len);
    if (!ok) {
        lt_exchange_client_gone(x);
        if (x->state == LT_X_DONE)
            return;
    }
    lt_exchange_finish(x);
}
