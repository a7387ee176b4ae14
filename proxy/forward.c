// SPDX-License-Identifier: Apache-2.0
// The fields that tell the application who asked, and the others who passed it on: X-Forwarded-*, Forwarded (RFC 7239),
// Via (RFC 9110 section 7.6.3), X-Request-Id. What an untrusted peer says of itself is replaced.
#include "exchange.h"
#include "h2.h"

enum { REQUEST_ID_MAX = 128 };

static void new_request_id(struct lt_exchange *x) {
    // splitmix64: unique within a worker by its counter, between workers and processes by a random prefix
    struct lt_worker *w = x->worker;
    uint64_t z = (w->id_count += 0x9e3779b97f4a7c15);
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
    z = (z ^ z >> 27) * 0x94d049bb133111eb;
    z ^= z >> 31;
    static const char hex[] = "0123456789abcdef";
    char *text = lt_arena_alloc(&x->arena, 32);
    for (unsigned i = 0; text && i < 16; i++) {
        text[i] = hex[w->id_prefix >> (60 - 4 * i) & 15];
        text[16 + i] = hex[z >> (60 - 4 * i) & 15];
    }
    x->id = lt_span(text, text ? 32 : 0);
}

void lt_forward_identify(struct lt_exchange *x) {
    const struct lt_headers *h = &x->request.headers;
    x->trusted = lt_core_trusts(&x->generation->snapshot->core, &x->peer);
    struct lt_header *proto = x->trusted ? lt_headers_get(h, LT_HDR_X_FORWARDED_PROTO) : NULL;
    // A trusted peer may speak TLS with us and plain with its client: its word counts, since cookies are its client's.
    const struct lt_client *c = x->client;
    const struct lt_stream *socket = !c ? NULL : lt_client_is_h2(c) ? &lt_h2_connection(c)->stream : &c->stream;
    bool secure = socket && socket->secure;
    x->https = proto ? lt_span_eq_nocase(proto->value, LT_S("https")) : secure;
    if (secure) // now: the client may be gone when the request goes on
        x->subject = lt_arena_dup(&x->arena, lt_stream_subject(socket));
    struct lt_header *id = x->trusted ? lt_headers_get(h, LT_HDR_X_REQUEST_ID) : NULL;
    if (id && id->value.n && id->value.n <= REQUEST_ID_MAX)
        x->id = id->value;
    else
        new_request_id(x);
    struct lt_header *trace = lt_headers_get(h, LT_HDR_TRACEPARENT);
    if (trace && !lt_headers_next(h, LT_HDR_TRACEPARENT, trace)) // two of them are none
        lt_trace_id(trace->value, x->trace);
}

// Replaces all fields of this id by one.
static bool set(struct lt_headers *h, enum lt_hdr id, struct lt_span value) {
    struct lt_header *f = lt_headers_get(h, id);
    if (!f)
        return value.p && lt_headers_add_id(h, id, value);
    lt_headers_drop(h, id);
    f->dropped = false;
    lt_header_set(f, value);
    return value.p != NULL;
}

// The values of all fields of this id with one more element behind.
static bool append(struct lt_exchange *x, struct lt_headers *h, enum lt_hdr id, struct lt_span element, bool believe) {
    struct lt_span all = {0};
    for (struct lt_header *f = NULL; believe && (f = lt_headers_next(h, id, f));) {
        if (f->value.n == 0)
            continue;
        all = all.n ? LT_JOIN(&x->arena, all, LT_S(", "), f->value) : f->value;
        if (!all.p)
            return false;
    }
    if (all.n)
        element = LT_JOIN(&x->arena, all, LT_S(", "), element);
    return set(h, id, element);
}

// for=…;host=…;proto=…: quoted where it is not a token (RFC 7239 section 4).
static struct lt_span forwarded_element(struct lt_exchange *x, struct lt_span client, struct lt_span proto) {
    struct lt_span host = x->request.host, none = LT_S("");
    bool v6 = x->peer.family == AF_INET6;
    struct lt_span quote = host.n && !lt_token_ok(host) ? LT_S("\"") : none;
    return LT_JOIN(&x->arena, LT_S("for="), v6 ? LT_S("\"[") : none, client, v6 ? LT_S("]\"") : none,
                   host.n ? LT_S(";host=") : none, quote, host, quote, LT_S(";proto="), proto);
}

void lt_forward_unforge(struct lt_exchange *x, struct lt_headers *h) {
    struct lt_span name = x->generation->snapshot->core.tls.subject_header;
    for (unsigned i = 0; name.n && i < h->n; i++)
        if (h->v[i].id == LT_HDR_OTHER && lt_tls_is_forged(h->v[i].name, name))
            h->v[i].dropped = true;
}

// Who the client is by its certificate: only we say that.
static bool set_subject(struct lt_exchange *x) {
    struct lt_span name = x->generation->snapshot->core.tls.subject_header;
    lt_forward_unforge(x, &x->request.headers);
    return name.n == 0 || x->subject.n == 0 || lt_headers_add(&x->request.headers, name, x->subject);
}

bool lt_forward_request(struct lt_exchange *x) {
    struct lt_headers *h = &x->request.headers;
    char text[LT_ADDRESS_TEXT];
    struct lt_span peer = lt_arena_dup(&x->arena, lt_ip_text(&x->peer, text));
    struct lt_span proto = x->https ? LT_S("https") : LT_S("http");
    lt_framing_strip(h);
    bool ok = peer.p && append(x, h, LT_HDR_X_FORWARDED_FOR, peer, x->trusted);
    if (!x->trusted || !lt_headers_get(h, LT_HDR_X_FORWARDED_PROTO))
        ok = ok && set(h, LT_HDR_X_FORWARDED_PROTO, proto);
    if (!x->trusted || !lt_headers_get(h, LT_HDR_X_FORWARDED_HOST))
        ok = ok && set(h, LT_HDR_X_FORWARDED_HOST, x->request.host.n ? x->request.host : LT_S(""));
    struct lt_span element = forwarded_element(x, peer, proto);
    ok = ok && element.p && append(x, h, LT_HDR_FORWARDED, element, x->trusted);
    ok = ok && append(x, h, LT_HDR_VIA, lt_client_is_h2(x->client) ? LT_S("2.0 lethe") : LT_S("1.1 lethe"), true);
    ok = ok && set(h, LT_HDR_X_REQUEST_ID, x->id) && set_subject(x);
    if (x->request_framing.expect_continue)
        ok = ok && lt_headers_add_id(h, LT_HDR_EXPECT, LT_S("100-continue"));
    return ok;
}

bool lt_forward_response(struct lt_exchange *x) {
    return append(x, &x->response.headers, LT_HDR_VIA, LT_S("1.1 lethe"), true);
}
