// SPDX-License-Identifier: Apache-2.0
#include "http/framing.h"

// Field by field and element by element: every one must be the same run of digits. False: there is none, or they are malformed
// (*reason says which).
static bool read_length(const struct lt_headers *h, uint64_t *length, enum lt_h1_reason *reason) {
    struct lt_span first = {NULL, 0};
    unsigned long long n = 0;
    for (struct lt_header *f = NULL; (f = lt_headers_next(h, LT_HDR_CONTENT_LENGTH, f));) {
        struct lt_span rest = f->value;
        for (bool more = true; more;) {
            size_t comma = lt_span_find(rest, ',');
            struct lt_span one = lt_span_trim(lt_span(rest.p, comma));
            more = comma < rest.n;
            if (more)
                rest = lt_span(rest.p + comma + 1, rest.n - comma - 1);
            if (!first.p)
                first = one;
            if (!lt_span_to_u64(one, INT64_MAX, &n) || !lt_span_eq(one, first)) {
                *reason = LT_H1_CONTENT_LENGTH;
                return false;
            }
        }
    }
    *length = n;
    return first.p != NULL;
}

// Exactly one field, exactly "chunked", in HTTP/1.1, and no Content-Length beside it: anything else is a way to smuggle.
static enum lt_h1_reason read_lengths(const struct lt_h1_head *head, bool *chunked, bool *has_length, uint64_t *length) {
    enum lt_h1_reason reason = LT_H1_OK;
    const struct lt_header *te = lt_headers_get(&head->headers, LT_HDR_TRANSFER_ENCODING);
    *has_length = read_length(&head->headers, length, &reason);
    *chunked = te != NULL;
    if (reason != LT_H1_OK || !te)
        return reason;
    bool ok = !*has_length && head->minor >= 1 && lt_span_eq_nocase(te->value, LT_S("chunked")) &&
              !lt_headers_next(&head->headers, LT_HDR_TRANSFER_ENCODING, te);
    return ok ? LT_H1_OK : LT_H1_TRANSFER_ENCODING;
}

static bool connection_has(const struct lt_headers *h, struct lt_span token) {
    for (struct lt_header *f = NULL; (f = lt_headers_next(h, LT_HDR_CONNECTION, f));)
        if (lt_span_has_token(f->value, token))
            return true;
    return false;
}

static bool keeps_alive(const struct lt_h1_head *head) {
    if (!lt_headers_get(&head->headers, LT_HDR_CONNECTION))
        return head->minor >= 1;
    return !connection_has(&head->headers, LT_S("close")) &&
           (head->minor >= 1 || connection_has(&head->headers, LT_S("keep-alive")));
}

// The protocol that both sides name. Never h2c: behind it requests would pass unseen.
static struct lt_span upgrade_of(const struct lt_h1_head *head) {
    const struct lt_header *f = lt_headers_get(&head->headers, LT_HDR_UPGRADE);
    bool ok = f && f->value.n && head->minor >= 1 && connection_has(&head->headers, LT_S("upgrade")) &&
              !lt_headers_next(&head->headers, LT_HDR_UPGRADE, f) && !lt_span_has_token(f->value, LT_S("h2c"));
    return ok ? f->value : lt_span(NULL, 0);
}

static enum lt_h1_reason read_expect(const struct lt_h1_head *head, struct lt_framing *f) {
    bool asked = false;
    for (struct lt_header *e = NULL; head->minor >= 1 && (e = lt_headers_next(&head->headers, LT_HDR_EXPECT, e));
         asked = true)
        if (!lt_span_eq_nocase(e->value, LT_S("100-continue")))
            return LT_H1_EXPECT;
    f->expect_continue = asked && f->kind != LT_BODY_NONE;
    return LT_H1_OK;
}

enum lt_h1_reason lt_framing_request(const struct lt_h1_head *head, struct lt_framing *f) {
    bool chunked, has_length;
    *f = (struct lt_framing){.kind = LT_BODY_NONE};
    enum lt_h1_reason r = read_lengths(head, &chunked, &has_length, &f->length);
    if (r != LT_H1_OK)
        return r;
    if (chunked)
        f->kind = LT_BODY_CHUNKED;
    else if (has_length && f->length)
        f->kind = LT_BODY_LENGTH;
    f->keep_alive = keeps_alive(head);
    f->last = !f->keep_alive && f->kind == LT_BODY_NONE && connection_has(&head->headers, LT_S("close"));
    if (f->kind == LT_BODY_NONE)
        f->upgrade_protocol = upgrade_of(head);
    f->upgrade = f->upgrade_protocol.n > 0;
    for (struct lt_header *te = NULL; (te = lt_headers_next(&head->headers, LT_HDR_TE, te));)
        f->trailers = f->trailers || lt_span_has_token(te->value, LT_S("trailers"));
    return read_expect(head, f);
}

enum lt_h1_reason lt_framing_response(const struct lt_h1_head *head, enum lt_method method, struct lt_framing *f) {
    bool chunked, has_length;
    *f = (struct lt_framing){.kind = LT_BODY_NONE};
    enum lt_h1_reason r = read_lengths(head, &chunked, &has_length, &f->length);
    if (r != LT_H1_OK)
        return r;
    f->keep_alive = keeps_alive(head);
    if (head->status < 200 || head->status == 204) {
        // These have no body; one that says otherwise may send it all the same, so nothing else is read from that connection.
        f->keep_alive = f->keep_alive && !chunked && !(has_length && f->length);
        f->upgrade_protocol = head->status == 101 ? upgrade_of(head) : lt_span(NULL, 0);
        f->upgrade = f->upgrade_protocol.n > 0;
    } else if (method == LT_METHOD_HEAD || head->status == 304) {
        f->kind = LT_BODY_NONE;
    } else if (chunked) {
        f->kind = LT_BODY_CHUNKED;
    } else if (!has_length) {
        f->kind = LT_BODY_CLOSE;
        f->keep_alive = false;
    } else if (f->length) {
        f->kind = LT_BODY_LENGTH;
    }
    return LT_H1_OK;
}

// End-to-end fields that no Connection field may take away: dropping them at one hop is an attack on the next.
static bool is_protected(const struct lt_header *f) {
    static const char *const names[] = {"Authorization", "Content-Encoding", "Cache-Control", "Expires", "Vary"};
    switch (f->id) {
    case LT_HDR_HOST:
    case LT_HDR_COOKIE:
    case LT_HDR_SET_COOKIE:
    case LT_HDR_CONTENT_LENGTH:
    case LT_HDR_CONTENT_TYPE:
    case LT_HDR_LOCATION:
    case LT_HDR_DATE:
    case LT_HDR_FORWARDED:
    case LT_HDR_VIA:
    case LT_HDR_EXPECT:
    case LT_HDR_X_REQUEST_ID:
        return true;
    default:
        break;
    }
    for (unsigned i = 0; i < sizeof names / sizeof *names; i++)
        if (lt_span_eq_nocase(f->name, lt_span_cstr(names[i])))
            return true;
    struct lt_span prefix = LT_S("X-Forwarded-");
    return f->name.n >= prefix.n && lt_span_eq_nocase(lt_span(f->name.p, prefix.n), prefix);
}

static void drop_named(struct lt_headers *h, struct lt_span name) {
    for (unsigned i = 0; i < h->n; i++)
        if (!h->v[i].dropped && lt_span_eq_nocase(h->v[i].name, name) && !is_protected(&h->v[i]))
            h->v[i].dropped = true;
}

void lt_framing_strip(struct lt_headers *h) {
    static const unsigned ends_here = 1u << LT_HDR_CONTENT_LENGTH | 1u << LT_HDR_TRANSFER_ENCODING |
                                      1u << LT_HDR_CONNECTION | 1u << LT_HDR_KEEP_ALIVE | 1u << LT_HDR_PROXY_CONNECTION |
                                      1u << LT_HDR_TE | 1u << LT_HDR_UPGRADE | 1u << LT_HDR_EXPECT;
    for (struct lt_header *f = NULL; (f = lt_headers_next(h, LT_HDR_CONNECTION, f));) {
        struct lt_span rest = f->value, token;
        // "connection" too is passed over: dropped here already, a second Connection field would not be read any more.
        while (lt_span_next(&rest, &token))
            if (!lt_span_eq_nocase(token, LT_S("close")) && !lt_span_eq_nocase(token, LT_S("keep-alive")) &&
                !lt_span_eq_nocase(token, LT_S("connection")))
                drop_named(h, token);
    }
    for (unsigned i = 0; i < h->n; i++)
        if (ends_here >> h->v[i].id & 1)
            h->v[i].dropped = true;
}

bool lt_framing_lasts(const struct lt_h1_head *response) {
    static const struct lt_span stream = {"text/event-stream", 17};
    const struct lt_header *type = lt_headers_get(&response->headers, LT_HDR_CONTENT_TYPE);
    return response->status == 101 ||
           (type && type->value.n >= stream.n && lt_span_eq_nocase(lt_span(type->value.p, stream.n), stream));
}
