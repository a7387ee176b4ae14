// SPDX-License-Identifier: Apache-2.0
// Where lethe and llhttp may differ, each with its reason. main.c fails on a difference that no row explains, and on a row that
// explains nothing. The predicates look at the message and at llhttp's reading, not at why lethe says that it refuses.
#include "tests/agreement/compare.h"
#include "http/chars.h"

#include <stdio.h>

#define PREDICATE(name)                                                                                                \
    static bool name(const struct message *m __attribute__((unused)), const struct reading *a __attribute__((unused)), \
                     const struct reading *b __attribute__((unused)))

static bool has(struct lt_span text, struct lt_span part) {
    return text.n >= part.n && memmem(text.p, text.n, part.p, part.n) != NULL;
}

// How many fields of this name; *last is the last one's value.
static unsigned count(const struct fields *f, struct lt_span name, struct lt_span *last) {
    unsigned n = 0;
    for (unsigned i = 0; i < f->n; i++)
        if (lt_span_eq_nocase(f->v[i].name, name)) {
            n++;
            *last = f->v[i].value;
        }
    return n;
}

static unsigned run(struct lt_span text, int what, unsigned longest) {
    for (size_t i = 0, n = 0; i < text.n; i++) {
        n = lt_char_is(text.p[i], what) ? n + 1 : 0;
        longest = n > longest ? (unsigned)n : longest;
    }
    return longest;
}

static bool is_origin_or_asterisk(struct lt_span target) {
    return target.n && (target.p[0] == '/' || target.p[0] == '*');
}

static struct lt_span start_line(const struct message *m) {
    struct lt_span t = m->text;
    while (t.n && (*t.p == '\r' || *t.p == '\n'))
        t = lt_span(t.p + 1, t.n - 1);
    return lt_span(t.p, lt_span_find(t, '\n'));
}

// --- lethe refuses ---

PREDICATE(bare_lf) {
    for (size_t i = 0; i < m->text.n; i++)
        if (m->text.p[i] == '\n' && (i == 0 || m->text.p[i - 1] != '\r'))
            return true;
    return false;
}

PREDICATE(leading_cr) {
    struct lt_span t = m->text;
    while (t.n >= 2 && memcmp(t.p, "\r\n", 2) == 0)
        t = lt_span(t.p + 2, t.n - 2);
    return t.n && t.p[0] == '\r';
}

PREDICATE(empty_lines) {
    return lt_span_starts(m->text, m->kind == REQUEST ? LT_S("\r\n\r\n") : LT_S("\r\n"));
}

PREDICATE(spaces_before_target) {
    struct lt_span line = start_line(m);
    return line.n > b->method.n && has(lt_span(line.p, (size_t)(line.n - b->target.n)), LT_S("  "));
}

PREDICATE(spaces_before_version) {
    return has(m->text, LT_S("  HTTP/")) || has(m->text, LT_S("  RTSP/")) || has(m->text, LT_S("  ICE/"));
}

PREDICATE(fragment) {
    return lt_span_find(b->target, '#') < b->target.n;
}

PREDICATE(asterisk) {
    return b->target.n && b->target.p[0] == '*' && !(b->target.n == 1 && lt_span_eq(b->method, LT_S("OPTIONS")));
}

PREDICATE(other_scheme) {
    struct lt_span scheme = lt_span(b->target.p, lt_span_find(b->target, ':'));
    return !is_origin_or_asterisk(b->target) && !lt_span_eq_nocase(scheme, LT_S("http")) &&
           !lt_span_eq_nocase(scheme, LT_S("https"));
}

PREDICATE(connect_to_no_authority) {
    return lt_span_eq(b->method, LT_S("CONNECT"));
}

PREDICATE(other_version) {
    return b->major != 1;
}

PREDICATE(other_protocol) {
    return has(start_line(m), LT_S(" RTSP/")) || has(start_line(m), LT_S(" ICE/"));
}

PREDICATE(status_digits) {
    return b->status < 100 || (m->text.n > 12 && (run(lt_span(m->text.p + 9, 3), LT_CHAR_DIGIT, 0) != 3 ||
                                                  lt_char_is(m->text.p[12], LT_CHAR_DIGIT)));
}

PREDICATE(control_in_reason) {
    struct lt_span line = start_line(m);
    return line.n && !lt_field_value_ok(lt_span(line.p, line.n - 1));
}

PREDICATE(no_field_name) {
    for (unsigned i = 0; i < b->fields.n; i++)
        if (b->fields.v[i].name.n == 0)
            return true;
    return false;
}

PREDICATE(folded) {
    return has(m->text, LT_S("\r\n ")) || has(m->text, LT_S("\r\n\t"));
}

PREDICATE(many_fields) {
    return b->fields.n > LT_HEADERS_MAX;
}

PREDICATE(host_missing) {
    struct lt_span v;
    return b->minor == 1 && count(&b->fields, LT_S("Host"), &v) == 0;
}

PREDICATE(host_twice) {
    struct lt_span v;
    return count(&b->fields, LT_S("Host"), &v) > 1;
}

// uri-host [":" port] as a person would write it down, not as h1_parse.c does.
static bool is_host(struct lt_span v) {
    size_t i = v.n, digits;
    while (i && lt_char_is(v.p[i - 1], LT_CHAR_DIGIT))
        i--;
    digits = v.n - i;
    if (i && v.p[i - 1] == ':' && digits <= 5 && (v.p[0] != '[' || v.p[i - 2 + (i < 2)] == ']'))
        v.n = i - 1;
    if (v.n > 3 && v.p[0] == '[' && v.p[v.n - 1] == ']') {
        for (i = 1; i < v.n - 1 && strchr("0123456789abcdefABCDEF:.", v.p[i]); i++) {
        }
        return i == v.n - 1;
    }
    return v.n > 0 && run(v, LT_CHAR_HOST, 0) == v.n;
}

// Of an absolute target.
static struct lt_span authority(struct lt_span target) {
    const char *p = is_origin_or_asterisk(target) ? NULL : memmem(target.p, target.n, "://", 3);
    if (!p)
        return lt_span(NULL, 0);
    target = lt_span(p + 3, target.n - (size_t)(p + 3 - target.p));
    target.n = lt_span_find(target, '/');
    target.n = lt_span_find(target, '?');
    return target;
}

PREDICATE(host_malformed) {
    struct lt_span v, t = authority(b->target);
    return (t.p && !is_host(t)) || (count(&b->fields, LT_S("Host"), &v) == 1 && !is_host(v));
}

PREDICATE(host_differs) {
    struct lt_span v, t = authority(b->target);
    return t.p && count(&b->fields, LT_S("Host"), &v) == 1 && !lt_span_eq_nocase(t, v);
}

PREDICATE(huge_length) {
    struct lt_span v;
    return count(&b->fields, LT_S("Content-Length"), &v) == 1 && v.n >= 19;
}

static unsigned encodings(const struct reading *r, struct lt_span *v) {
    return count(&r->fields, LT_S("Transfer-Encoding"), v);
}

PREDICATE(encoding_in_10) {
    struct lt_span v;
    return b->minor == 0 && encodings(b, &v) > 0;
}

PREDICATE(encoding_empty) {
    struct lt_span v;
    return encodings(b, &v) > 0 && v.n == 0;
}

PREDICATE(encoding_twice) {
    struct lt_span v;
    return encodings(b, &v) > 1;
}

PREDICATE(encoding_other) {
    struct lt_span v;
    return encodings(b, &v) == 1 && !lt_span_eq_nocase(v, LT_S("chunked"));
}

static struct lt_span behind_head(const struct message *m) {
    const char *p = memmem(m->text.p, m->text.n, "\r\n\r\n", 4);
    return p ? lt_span(p + 4, (size_t)(m->text.p + m->text.n - p) - 4) : lt_span("", 0);
}

PREDICATE(long_chunk_size) {
    return run(behind_head(m), LT_CHAR_HEX, 0) > 15;
}

PREDICATE(long_extension) {
    return lt_span_find(behind_head(m), ';') + 4096 < behind_head(m).n;
}

PREDICATE(delete_in_extension) {
    return lt_span_find(behind_head(m), 0x7f) < behind_head(m).n;
}

PREDICATE(odd_trailer) {
    for (unsigned i = 0; i < b->trailers.n; i++)
        if (b->trailers.v[i].name.n == 0)
            return true;
    return folded(m, a, b) || b->trailers.n > LT_HEADERS_MAX;
}

PREDICATE(expectation) {
    for (unsigned i = 0; i < b->fields.n; i++)
        if (lt_span_eq_nocase(b->fields.v[i].name, LT_S("Expect")) &&
            !lt_span_eq_nocase(b->fields.v[i].value, LT_S("100-continue")))
            return b->minor == 1;
    return false;
}

// --- llhttp refuses ---

bool llhttp_knows(struct lt_span method) {
    static const char known[] =
        " DELETE GET HEAD POST PUT CONNECT OPTIONS TRACE COPY LOCK MKCOL MOVE PROPFIND PROPPATCH SEARCH"
        " UNLOCK BIND REBIND UNBIND ACL REPORT MKACTIVITY CHECKOUT MERGE M-SEARCH NOTIFY SUBSCRIBE"
        " UNSUBSCRIBE PATCH PURGE MKCALENDAR LINK UNLINK SOURCE ";
    char word[40];
    snprintf(word, sizeof word, " %.*s ", (int)method.n, method.p);
    return strstr(known, word);
}

PREDICATE(unknown_method) {
    return !llhttp_knows(a->method);
}

PREDICATE(later_minor) {
    const char *v = memmem(m->text.p, m->text.n, "HTTP/1.", 7);
    return v && v + 7 < m->text.p + m->text.n && v[7] >= '2' && v[7] <= '9';
}

PREDICATE(length_repeated) {
    struct lt_span v;
    return count(&a->fields, LT_S("Content-Length"), &v) > 1;
}

PREDICATE(length_list) {
    for (unsigned i = 0; i < a->fields.n; i++)
        if (lt_span_eq_nocase(a->fields.v[i].name, LT_S("Content-Length")) && has(a->fields.v[i].value, LT_S(",")))
            return true;
    return false;
}

PREDICATE(length_before_tab) {
    struct lt_span v;
    return count(&a->fields, LT_S("Content-Length"), &v) > 0 && has(m->text, LT_S("\t"));
}

PREDICATE(chunked_before_tab) {
    struct lt_span v;
    return encodings(a, &v) == 1 && lt_span_eq_nocase(v, LT_S("chunked")) &&
           (has(m->text, LT_S("\t\r\n")) || has(m->text, LT_S("\t \r\n")));
}

PREDICATE(extension) {
    struct lt_span v;
    return encodings(a, &v) == 1 && lt_span_find(behind_head(m), ';') < behind_head(m).n;
}

PREDICATE(framing_in_trailer) {
    struct lt_span v;
    return encodings(a, &v) == 1 && lt_span_eq_nocase(v, LT_S("chunked"));
}

// --- both accept ---

PREDICATE(connect_with_body) {
    return a->head && lt_span_eq(a->method, LT_S("CONNECT"));
}

PREDICATE(status_without_body) {
    struct lt_span v;
    return (a->status / 100 == 1 || a->status == 204 || a->status == 304) &&
           encodings(a, &v) + count(&a->fields, LT_S("Content-Length"), &v) > 0;
}

PREDICATE(upgrade_and_tab) {
    return a->upgrade && has(m->text, LT_S("\t"));
}

#define OWS                                                                                                            \
    "RFC 9110 5.5: the white space around a value, HTAB too, is no part of it; lethe writes the field anew without it"

const struct difference differences[] = {
    {"bare LF", STRICTER, LT_H1_BARE_LF, NULL, bare_lf,
     "RFC 9112 2.2: only a MAY; a parser behind that does not take it reads other lines"},
    {"CR before the request line", STRICTER, LT_H1_BARE_CR, NULL, leading_cr, "RFC 9112 2.2: a bare CR is invalid"},
    {"several empty lines", STRICTER, LT_H1_METHOD, NULL, empty_lines, "RFC 9112 2.2: at least one is to be passed over"},
    {"empty line before a response", STRICTER, LT_H1_STATUS_LINE, NULL, empty_lines,
     "RFC 9112 2.2: said of requests only"},
    {"spaces before the target", STRICTER, LT_H1_TARGET, NULL, spaces_before_target, "RFC 9112 3: a single SP"},
    {"spaces before the version", STRICTER, LT_H1_VERSION, NULL, spaces_before_version, "RFC 9112 3: a single SP"},
    {"fragment", STRICTER, LT_H1_TARGET, NULL, fragment, "RFC 9112 3.2: no form of a target has one"},
    {"asterisk", STRICTER, LT_H1_TARGET, NULL, asterisk, "RFC 9112 3.2.4: alone, and for OPTIONS only"},
    {"CONNECT", STRICTER, LT_H1_TARGET, NULL, connect_to_no_authority, "RFC 9112 3.2.3: authority-form and nothing else"},
    {"scheme", STRICTER, LT_H1_TARGET, NULL, other_scheme, "RFC 9110 4.2: lethe serves http and https"},
    {"HTTP/0.9 and 2.0", STRICTER, LT_H1_VERSION, NULL, other_version,
     "RFC 9110 2.5: another major version, another syntax"},
    {"HTTP/0.9 and 2.0 in a response", STRICTER, LT_H1_STATUS_LINE, NULL, other_version, "RFC 9110 2.5"},
    {"RTSP and ICE", STRICTER, LT_H1_VERSION, NULL, other_protocol, "RFC 9112 2.3: the name is HTTP"},
    {"status", STRICTER, LT_H1_STATUS_LINE, NULL, status_digits, "RFC 9112 4 and RFC 9110 15: three digits, from 100"},
    {"control in a reason phrase", STRICTER, LT_H1_STATUS_LINE, NULL, control_in_reason,
     "RFC 9112 4: HTAB, SP, VCHAR, obs-text"},
    {"no field name", STRICTER, LT_H1_FIELD_NAME, NULL, no_field_name, "RFC 9110 5.1: a token has a character"},
    {"fold", STRICTER, LT_H1_FOLD, NULL, folded, "RFC 9112 5.2: a server MUST reject it or replace it"},
    {"too many fields", STRICTER, LT_H1_TOO_MANY, NULL, many_fields, "RFC 9110 5.4: a limit, answered with 431"},
    {"no Host", STRICTER, LT_H1_HOST, NULL, host_missing, "RFC 9112 3.2: MUST answer 400"},
    {"several Hosts", STRICTER, LT_H1_HOST, NULL, host_twice, "RFC 9112 3.2: MUST answer 400"},
    {"malformed Host", STRICTER, LT_H1_HOST, NULL, host_malformed,
     "RFC 9112 3.2, RFC 9110 4.2.4: MUST answer 400; no user name"},
    {"Host that is not the target's", STRICTER, LT_H1_HOST, NULL, host_differs,
     "RFC 9112 3.2.2: two parsers could choose differently"},
    {"huge Content-Length", STRICTER, LT_H1_CONTENT_LENGTH, NULL, huge_length,
     "RFC 9110 8.6: no number that overflows; ours are signed"},
    {"Transfer-Encoding in HTTP/1.0", STRICTER, LT_H1_TRANSFER_ENCODING, NULL, encoding_in_10,
     "RFC 9112 6.1: MUST be treated as if the framing was faulty"},
    {"empty Transfer-Encoding", STRICTER, LT_H1_TRANSFER_ENCODING, NULL, encoding_empty,
     "RFC 9112 6.1: who finds the field at all reads another framing"},
    {"several Transfer-Encodings", STRICTER, LT_H1_TRANSFER_ENCODING, NULL, encoding_twice,
     "RFC 9112 6.3: a way to smuggle"},
    {"another Transfer-Encoding", STRICTER, LT_H1_TRANSFER_ENCODING, NULL, encoding_other,
     "RFC 9112 6.1: lethe knows only chunked, and only as it is written"},
    {"long chunk size", STRICTER, LT_H1_CHUNK_SIZE, NULL, long_chunk_size,
     "RFC 9112 7.1: MUST prevent overflow; 15 digits do"},
    {"long chunk extension", STRICTER, LT_H1_CHUNK_EXT, NULL, long_extension, "RFC 9112 7.1.1: ought to limit them"},
    {"DEL in a chunk extension", STRICTER, LT_H1_CHUNK_EXT, NULL, delete_in_extension,
     "RFC 9112 7.1.1, RFC 9110 5.6.4: no qdtext"},
    {"odd trailer", STRICTER, LT_H1_TRAILER, NULL, odd_trailer,
     "RFC 9112 7.1.2: a field section, so neither fold nor empty name"},
    {"expectation", STRICTER, LT_H1_EXPECT, NULL, expectation, "RFC 9110 10.1.1: MAY answer 417"},
    {"malformed chunks, chunked before HTAB", STRICTER, LT_H1_REASONS, NULL, chunked_before_tab, OWS},
    {"CONNECT with malformed content", STRICTER, LT_H1_REASONS, NULL, connect_with_body,
     "RFC 9110 9.3.6: it has no meaning; the proxy refuses CONNECT (exchange.c)"},

    {"unknown method", LOOSER, LT_H1_OK, "Invalid method", unknown_method,
     "RFC 9110 9.1: any token; llhttp has a fixed list"},
    {"method with a known beginning", LOOSER, LT_H1_OK, "Expected space after method", unknown_method, "the same"},
    {"PRI", LOOSER, LT_H1_OK, "Expected HTTP/2", unknown_method, "RFC 9113 3.4: in HTTP/1.1 a method like any other"},
    {"later minor version", LOOSER, LT_H1_OK, "Invalid HTTP version", later_minor,
     "RFC 9110 2.5: read, and written, as 1.1"},
    {"Content-Length repeated", LOOSER, LT_H1_OK, "Duplicate Content-Length", length_repeated,
     "RFC 9110 8.6: identical ones may be taken as one; one is written"},
    {"Content-Length as a list", LOOSER, LT_H1_OK, "Invalid character in Content-Length", length_list, "the same"},
    {"Content-Length before HTAB", LOOSER, LT_H1_OK, "Invalid character in Content-Length", length_before_tab, OWS},
    {"chunked before HTAB", LOOSER, LT_H1_OK, "Request has invalid", chunked_before_tab, OWS},
    {"chunk extension", LOOSER, LT_H1_OK, "Invalid character in chunk ext", extension,
     "RFC 9112 7.1.1: unknown ones MUST be ignored; lethe passes none on"},
    {"several chunk extensions", LOOSER, LT_H1_OK, "Invalid character in chunk size", extension, "the same"},
    {"length in a trailer", LOOSER, LT_H1_OK, "Duplicate Content-Length", framing_in_trailer,
     "RFC 9110 6.5.1: no framing from a trailer; lethe drops it"},
    {"malformed length in a trailer", LOOSER, LT_H1_OK, "Invalid character in Content-Length", framing_in_trailer,
     "the same"},
    {"huge length in a trailer", LOOSER, LT_H1_OK, "Content-Length overflow", framing_in_trailer, "the same"},
    {"empty length in a trailer", LOOSER, LT_H1_OK, "Empty Content-Length", framing_in_trailer, "the same"},
    {"encoding in a trailer", LOOSER, LT_H1_OK, "Invalid `Transfer-Encoding`", framing_in_trailer, "the same"},
    {"behind a status without a body", LOOSER, LT_H1_OK, "", status_without_body,
     "RFC 9112 6.3: 1xx, 204, 304 end with their head; llhttp leaves that to its caller and reads on"},

    {"PRI, and no more", DIFFERENT, LT_H1_OK, "end of the head", unknown_method,
     "RFC 9113 3.4: in HTTP/1.1 a method like any other; llhttp waits for the rest of HTTP/2's preface"},
    {"CONNECT with content", DIFFERENT, LT_H1_OK, "", connect_with_body,
     "RFC 9110 9.3.6: it has no meaning; the proxy refuses CONNECT (exchange.c)"},
    {"status without a body", DIFFERENT, LT_H1_OK, "", status_without_body, "RFC 9112 6.3: the same"},
    {"chunked before HTAB, read otherwise", DIFFERENT, LT_H1_OK, "", chunked_before_tab, OWS},
    {"upgrade and HTAB", DIFFERENT, LT_H1_OK, "upgrade", upgrade_and_tab, OWS},
};
const unsigned differences_n = sizeof differences / sizeof *differences;

unsigned explain(enum outcome outcome, const char *what, const struct message *m, const struct reading *lethe,
                 const struct reading *llhttp) {
    const char *says = outcome == LOOSER ? llhttp->error : what ? what : "";
    unsigned i = 0;
    for (; i < differences_n; i++) {
        const struct difference *d = &differences[i];
        if (d->outcome == outcome && (outcome != STRICTER || d->reason == LT_H1_REASONS || d->reason == lethe->reason) &&
            (!d->says || strncmp(says, d->says, strlen(d->says)) == 0) && d->applies(m, lethe, llhttp))
            break;
    }
    return i;
}
