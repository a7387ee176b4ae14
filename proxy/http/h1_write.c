// SPDX-License-Identifier: Apache-2.0
#include "http/h1_write.h"

enum { FRAMING_MAX = 256 }; // room for the lines of framing, without the upgrade's protocol

static char *put(char *to, struct lt_span s) {
    if (s.n)
        memcpy(to, s.p, s.n);
    return to + s.n;
}

static size_t fields_size(const struct lt_headers *h) {
    size_t n = 0;
    for (unsigned i = 0; i < h->n; i++)
        n += h->v[i].dropped ? 0 : h->v[i].raw.p ? h->v[i].raw.n : h->v[i].name.n + h->v[i].value.n + 4;
    return n;
}

// Untouched neighbours stand one behind the other in the read buffer: one copy for all of them.
static char *put_fields(char *to, const struct lt_headers *h, bool skip_host) {
    struct lt_span run = {NULL, 0};
    for (unsigned i = 0; i < h->n; i++) {
        const struct lt_header *f = &h->v[i];
        if (f->dropped || (skip_host && f->id == LT_HDR_HOST))
            continue;
        if (run.n && f->raw.p == run.p + run.n) {
            run.n += f->raw.n;
            continue;
        }
        to = put(to, run);
        run = f->raw;
        if (f->raw.p)
            continue;
        run.n = 0;
        to = put(to, f->name);
        to = put(to, LT_S(": "));
        to = put(to, f->value);
        to = put(to, LT_S("\r\n"));
    }
    return put(to, run);
}

static char *put_framing(char *to, const struct lt_h1_out *how) {
    char length[LT_NUMBER_TEXT];
    if (how->kind == LT_BODY_LENGTH) {
        to = put(to, LT_S("Content-Length: "));
        to = put(to, lt_span_number(length, how->length));
        to = put(to, LT_S("\r\n"));
    }
    if (how->kind == LT_BODY_CHUNKED)
        to = put(to, LT_S("Transfer-Encoding: chunked\r\n"));
    if (how->close)
        to = put(to, LT_S("Connection: close\r\n"));
    if (how->keep_alive)
        to = put(to, LT_S("Connection: keep-alive\r\n"));
    if (how->trailers)
        to = put(to, LT_S("Connection: TE\r\nTE: trailers\r\n"));
    if (how->upgrade.n) {
        to = put(to, LT_S("Connection: upgrade\r\nUpgrade: "));
        to = put(to, how->upgrade);
        to = put(to, LT_S("\r\n"));
    }
    return put(to, LT_S("\r\n"));
}

static bool expects_body(enum lt_method m) {
    return m == LT_METHOD_POST || m == LT_METHOD_PUT || m == LT_METHOD_PATCH;
}

bool lt_h1_write_request(struct lt_buf *out, const struct lt_h1_head *head, const struct lt_h1_out *how) {
    struct lt_h1_out framing = *how;
    size_t size =
        head->method_text.n + head->path.n + head->host.n + fields_size(&head->headers) + how->upgrade.n + FRAMING_MAX;
    char *start = lt_buf_reserve(out, size), *to = start;
    if (!start)
        return false;
    if (how->kind == LT_BODY_NONE && expects_body(head->method))
        framing.kind = LT_BODY_LENGTH, framing.length = 0;
    to = put(to, head->method_text);
    to = put(to, LT_S(" "));
    to = put(to, head->path);
    to = put(to, LT_S(" HTTP/1.1\r\nHost: "));
    to = put(to, head->host);
    to = put(to, LT_S("\r\n"));
    to = put_fields(to, &head->headers, true);
    to = put_framing(to, &framing);
    lt_buf_grew(out, (size_t)(to - start));
    return true;
}

bool lt_h1_write_response(struct lt_buf *out, const struct lt_h1_head *head, const struct lt_h1_out *how) {
    struct lt_span phrase = head->reason_phrase.n ? head->reason_phrase : lt_http_reason(head->status);
    char *start = lt_buf_reserve(out, phrase.n + fields_size(&head->headers) + how->upgrade.n + FRAMING_MAX), *to = start;
    if (!start)
        return false;
    const char digits[] = {(char)('0' + head->status / 100), (char)('0' + head->status / 10 % 10),
                           (char)('0' + head->status % 10)};
    to = put(to, LT_S("HTTP/1.1 "));
    to = put(to, lt_span(digits, 3));
    to = put(to, LT_S(" "));
    to = put(to, phrase);
    to = put(to, LT_S("\r\n"));
    to = put_fields(to, &head->headers, false);
    to = put_framing(to, how);
    lt_buf_grew(out, (size_t)(to - start));
    return true;
}

size_t lt_h1_chunk_head(char *out, uint64_t length) {
    static const char hex[] = "0123456789abcdef";
    size_t digits = 1, n = 0;
    while (digits < 16 && length >> (4 * digits))
        digits++;
    while (digits)
        out[n++] = hex[length >> (4 * --digits) & 15];
    out[n++] = '\r';
    out[n++] = '\n';
    return n;
}

bool lt_h1_write_last_chunk(struct lt_buf *out, const struct lt_headers *trailers) {
    char *start = lt_buf_reserve(out, fields_size(trailers) + 16), *to = start;
    if (!start)
        return false;
    to = put(to, LT_S("0\r\n"));
    to = put_fields(to, trailers, false);
    to = put(to, LT_S("\r\n"));
    lt_buf_grew(out, (size_t)(to - start));
    return true;
}

// The registry of RFC 9110 section 15, and what lethe itself and common applications answer besides.
struct lt_span lt_http_reason(int status) {
    static const struct {
        int status;
        const char *phrase;
    } phrases[] = {
        {100, "Continue"},
        {101, "Switching Protocols"},
        {103, "Early Hints"},
        {200, "OK"},
        {201, "Created"},
        {202, "Accepted"},
        {203, "Non-Authoritative Information"},
        {204, "No Content"},
        {205, "Reset Content"},
        {206, "Partial Content"},
        {300, "Multiple Choices"},
        {301, "Moved Permanently"},
        {302, "Found"},
        {303, "See Other"},
        {304, "Not Modified"},
        {305, "Use Proxy"},
        {307, "Temporary Redirect"},
        {308, "Permanent Redirect"},
        {400, "Bad Request"},
        {401, "Unauthorized"},
        {402, "Payment Required"},
        {403, "Forbidden"},
        {404, "Not Found"},
        {405, "Method Not Allowed"},
        {406, "Not Acceptable"},
        {407, "Proxy Authentication Required"},
        {408, "Request Timeout"},
        {409, "Conflict"},
        {410, "Gone"},
        {411, "Length Required"},
        {412, "Precondition Failed"},
        {413, "Content Too Large"},
        {414, "URI Too Long"},
        {415, "Unsupported Media Type"},
        {416, "Range Not Satisfiable"},
        {417, "Expectation Failed"},
        {421, "Misdirected Request"},
        {422, "Unprocessable Content"},
        {426, "Upgrade Required"},
        {429, "Too Many Requests"},
        {431, "Request Header Fields Too Large"},
        {500, "Internal Server Error"},
        {501, "Not Implemented"},
        {502, "Bad Gateway"},
        {503, "Service Unavailable"},
        {504, "Gateway Timeout"},
        {505, "HTTP Version Not Supported"},
    };
    for (unsigned i = 0; i < sizeof phrases / sizeof *phrases; i++)
        if (phrases[i].status == status)
            return lt_span_cstr(phrases[i].phrase);
    return lt_span("", 0);
}
