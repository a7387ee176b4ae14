// SPDX-License-Identifier: Apache-2.0
#include "http/h1_parse.h"

#include "http/chars.h"

enum { METHOD_MAX = 32 };

static const struct {
    const char *name;
    int status;
} reasons[LT_H1_REASONS] = {
    [LT_H1_OK] = {"none", 200},
    [LT_H1_METHOD] = {"method", 400},
    [LT_H1_TARGET] = {"target", 400},
    [LT_H1_VERSION] = {"version", 505},
    [LT_H1_STATUS_LINE] = {"status-line", 400},
    [LT_H1_BARE_LF] = {"bare-lf", 400},
    [LT_H1_BARE_CR] = {"bare-cr", 400},
    [LT_H1_FIELD_NAME] = {"field-name", 400},
    [LT_H1_FIELD_VALUE] = {"field-value", 400},
    [LT_H1_FOLD] = {"fold", 400},
    [LT_H1_TOO_MANY] = {"too-many", 431},
    [LT_H1_TOO_LARGE] = {"too-large", 431},
    [LT_H1_HOST] = {"host", 400},
    [LT_H1_CONTENT_LENGTH] = {"content-length", 400},
    [LT_H1_TRANSFER_ENCODING] = {"transfer-encoding", 400},
    [LT_H1_CHUNK_SIZE] = {"chunk-size", 400},
    [LT_H1_CHUNK_EXT] = {"chunk-ext", 400},
    [LT_H1_CHUNK_END] = {"chunk-end", 400},
    [LT_H1_TRAILER] = {"trailer", 400},
    [LT_H1_EXPECT] = {"expect", 417},
    [LT_H1_MEMORY] = {"memory", 503},
};

const char *lt_h1_reason_name(enum lt_h1_reason r) {
    return reasons[r].name;
}

int lt_h1_reason_status(enum lt_h1_reason r) {
    return reasons[r].status;
}

bool lt_h1_parser_init(struct lt_h1_parser *p, struct lt_h1_head *head, struct lt_arena *arena, bool response,
                       size_t max) {
    *p = (struct lt_h1_parser){.response = response, .max = max};
    *head = (struct lt_h1_head){.minor = 1};
    return lt_headers_init(&head->headers, arena);
}

void lt_h1_parser_again(struct lt_h1_parser *p, struct lt_h1_head *head) {
    struct lt_headers table = head->headers;
    table.n = table.ids = 0;
    *p = (struct lt_h1_parser){.response = p->response, .max = p->max};
    *head = (struct lt_h1_head){.minor = 1, .headers = table};
}

// What is wrong with a text that is not as it must be: a CR inside a line has a name of its own.
static enum lt_h1_reason blame(struct lt_span text, enum lt_h1_reason otherwise) {
    return lt_span_find(text, '\r') < text.n ? LT_H1_BARE_CR : otherwise;
}

static size_t run_of(struct lt_span s, int what) {
    size_t n = 0;
    while (n < s.n && lt_char_is(s.p[n], what))
        n++;
    return n;
}

static struct lt_span after(struct lt_span s, size_t n) {
    return lt_span(s.p + n, s.n - n);
}

// --- the start line ---

static enum lt_method method_of(struct lt_span text) {
    static const struct {
        struct lt_span text;
        enum lt_method method;
    } methods[] = {
        {{"GET", 3}, LT_METHOD_GET},     {{"POST", 4}, LT_METHOD_POST},     {{"HEAD", 4}, LT_METHOD_HEAD},
        {{"PUT", 3}, LT_METHOD_PUT},     {{"DELETE", 6}, LT_METHOD_DELETE}, {{"OPTIONS", 7}, LT_METHOD_OPTIONS},
        {{"TRACE", 5}, LT_METHOD_TRACE}, {{"PATCH", 5}, LT_METHOD_PATCH},   {{"CONNECT", 7}, LT_METHOD_CONNECT},
    };
    for (unsigned i = 0; i < sizeof methods / sizeof *methods; i++)
        if (lt_span_eq(text, methods[i].text))
            return methods[i].method;
    return LT_METHOD_OTHER;
}

// "HTTP/" DIGIT "." DIGIT, all that is left of the line.
static enum lt_h1_reason parse_version(struct lt_h1_parser *p, struct lt_h1_head *head, struct lt_span text) {
    bool known = text.n == 8 && memcmp(text.p, "HTTP/", 5) == 0 && lt_char_is(text.p[5], LT_CHAR_DIGIT) &&
                 text.p[6] == '.' && lt_char_is(text.p[7], LT_CHAR_DIGIT);
    if (!known)
        return blame(text, LT_H1_VERSION);
    p->version_known = true;
    if (text.p[5] != '1')
        return LT_H1_VERSION;
    head->minor = text.p[7] == '0' ? 0 : 1;
    return LT_H1_OK;
}

// uri-host [":" port] (RFC 3986 section 3.2.2): a name, an IPv4 address or "[" IPv6 "]".
static bool authority_ok(struct lt_span a) {
    size_t n;
    if (a.n && a.p[0] == '[') {
        for (n = 1; n < a.n && (lt_char_is(a.p[n], LT_CHAR_HEX) || a.p[n] == ':' || a.p[n] == '.'); n++) {
        }
        if (n == a.n || a.p[n] != ']' || n < 3)
            return false;
        n++;
    } else {
        n = run_of(a, LT_CHAR_HOST);
    }
    if (n == 0 || n == a.n)
        return n > 0;
    struct lt_span port = after(a, n + 1);
    return a.p[n] == ':' && port.n <= 5 && run_of(port, LT_CHAR_DIGIT) == port.n;
}

// "http://authority/path?query": what goes upstream is the origin form.
static enum lt_h1_reason parse_absolute(struct lt_h1_head *head) {
    struct lt_span t = head->target;
    size_t colon = lt_span_find(t, ':');
    head->scheme = lt_span(t.p, colon);
    bool known = lt_span_eq_nocase(head->scheme, LT_S("http")) || lt_span_eq_nocase(head->scheme, LT_S("https"));
    if (!known || t.n < colon + 3 || memcmp(t.p + colon, "://", 3) != 0)
        return LT_H1_TARGET;
    struct lt_span rest = after(t, colon + 3);
    size_t n = 0;
    while (n < rest.n && rest.p[n] != '/' && rest.p[n] != '?')
        n++;
    head->authority = lt_span(rest.p, n);
    if (!authority_ok(head->authority))
        return LT_H1_HOST;
    head->path = after(rest, n);
    if (head->path.n == 0)
        head->path = head->method == LT_METHOD_OPTIONS ? LT_S("*") : LT_S("/");
    else if (head->path.p[0] == '?')
        head->path = lt_arena_printf(head->headers.arena, "/%.*s", (int)head->path.n, head->path.p);
    return head->path.p ? LT_H1_OK : LT_H1_MEMORY;
}

// RFC 9112 section 3.2: each form belongs to certain methods only.
static enum lt_h1_reason parse_target(struct lt_h1_head *head) {
    struct lt_span t = head->target;
    head->path = t;
    if (head->method == LT_METHOD_CONNECT)
        return authority_ok(t) ? LT_H1_OK : LT_H1_TARGET;
    if (t.p[0] == '/')
        return LT_H1_OK;
    if (lt_span_eq(t, LT_S("*")))
        return head->method == LT_METHOD_OPTIONS ? LT_H1_OK : LT_H1_TARGET;
    return parse_absolute(head);
}

static enum lt_h1_reason parse_request_line(struct lt_h1_parser *p, struct lt_h1_head *head, struct lt_span line) {
    size_t n = run_of(line, LT_CHAR_TOKEN);
    head->method_text = lt_span(line.p, n);
    if (n == 0 || n == line.n || line.p[n] != ' ' || n > METHOD_MAX)
        return blame(line, LT_H1_METHOD);
    head->method = method_of(head->method_text);
    line = after(line, n + 1);
    n = run_of(line, LT_CHAR_TARGET);
    head->target = lt_span(line.p, n);
    if (n == 0 || (n < line.n && line.p[n] != ' '))
        return blame(line, LT_H1_TARGET);
    if (n == line.n)
        return LT_H1_VERSION; // HTTP/0.9
    enum lt_h1_reason r = parse_version(p, head, after(line, n + 1));
    return r == LT_H1_OK ? parse_target(head) : r;
}

static enum lt_h1_reason parse_status_line(struct lt_h1_parser *p, struct lt_h1_head *head, struct lt_span line) {
    if (line.n < 12 || line.p[8] != ' ' || parse_version(p, head, lt_span(line.p, 8)) != LT_H1_OK)
        return blame(line, LT_H1_STATUS_LINE);
    struct lt_span digits = lt_span(line.p + 9, 3);
    if (run_of(digits, LT_CHAR_DIGIT) != 3 || digits.p[0] == '0' || (line.n > 12 && line.p[12] != ' '))
        return LT_H1_STATUS_LINE;
    head->status = (digits.p[0] - '0') * 100 + (digits.p[1] - '0') * 10 + (digits.p[2] - '0');
    head->reason_phrase = line.n > 13 ? after(line, 13) : lt_span(NULL, 0);
    return lt_field_value_ok(head->reason_phrase) ? LT_H1_OK : blame(line, LT_H1_STATUS_LINE);
}

// --- fields ---

enum lt_h1_reason lt_h1_field(struct lt_span line, struct lt_span *name, struct lt_span *value) {
    if (line.n && (line.p[0] == ' ' || line.p[0] == '\t'))
        return LT_H1_FOLD;
    size_t n = run_of(line, LT_CHAR_TOKEN);
    if (n == 0 || n == line.n || line.p[n] != ':')
        return blame(line, LT_H1_FIELD_NAME);
    *name = lt_span(line.p, n);
    struct lt_span rest = after(line, n + 1);
    if (!lt_field_value_ok(rest))
        return blame(rest, LT_H1_FIELD_VALUE);
    *value = lt_span_trim(rest);
    return LT_H1_OK;
}

static enum lt_h1_reason add_field(struct lt_h1_head *head, struct lt_span line) {
    struct lt_span name, value;
    enum lt_h1_reason r = lt_h1_field(line, &name, &value);
    if (r != LT_H1_OK)
        return r;
    struct lt_headers *h = &head->headers;
    if (h->n == LT_HEADERS_MAX)
        return LT_H1_TOO_MANY;
    if (!lt_headers_add(h, name, value))
        return LT_H1_MEMORY;
    h->v[h->n - 1].raw = lt_span(line.p, line.n + 2);
    return LT_H1_OK;
}

// RFC 9112 section 3.2: exactly one in HTTP/1.1. What an absolute target says must be the same: two parsers could choose differently.
static enum lt_h1_reason check_host(struct lt_h1_head *head) {
    struct lt_header *f = lt_headers_get(&head->headers, LT_HDR_HOST);
    if (f && (lt_headers_next(&head->headers, LT_HDR_HOST, f) || !authority_ok(f->value)))
        return LT_H1_HOST;
    if (!f && head->minor >= 1)
        return LT_H1_HOST;
    if (f && head->authority.n && !lt_span_eq_nocase(f->value, head->authority))
        return LT_H1_HOST;
    head->host = head->authority.n ? head->authority : f ? f->value : lt_span(NULL, 0);
    return LT_H1_OK;
}

// --- lines ---

// One whole line without its CRLF. *done: it was the empty line that ends the head.
static enum lt_h1_reason parse_line(struct lt_h1_parser *p, struct lt_h1_head *head, struct lt_span line, bool *done) {
    if (!p->started) {
        if (line.n == 0 && p->line == 0 && !p->response)
            return LT_H1_OK; // one empty line before a request is passed over
        p->started = true;
        return p->response ? parse_status_line(p, head, line) : parse_request_line(p, head, line);
    }
    if (line.n)
        return add_field(head, line);
    *done = true;
    return p->response ? LT_H1_OK : check_host(head);
}

static enum lt_h1_status bad(struct lt_h1_parser *p, enum lt_h1_reason r) {
    p->reason = r;
    return LT_H1_BAD;
}

enum lt_h1_status lt_h1_parse(struct lt_h1_parser *p, struct lt_h1_head *head, const char *data, size_t n) {
    bool done = false;
    while (!done) {
        const char *from = data + p->line;
        const char *lf = p->line < n ? memchr(from, '\n', n - p->line) : NULL;
        if (!lf)
            return n >= p->max ? bad(p, LT_H1_TOO_LARGE) : LT_H1_MORE;
        size_t next = (size_t)(lf - data) + 1;
        if (next > p->max)
            return bad(p, LT_H1_TOO_LARGE);
        if (lf == from || lf[-1] != '\r')
            return bad(p, LT_H1_BARE_LF);
        enum lt_h1_reason r = parse_line(p, head, lt_span(from, (size_t)(lf - 1 - from)), &done);
        if (r != LT_H1_OK)
            return bad(p, r);
        p->line = next;
    }
    head->size = p->line;
    return LT_H1_DONE;
}
