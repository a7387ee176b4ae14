// SPDX-License-Identifier: Apache-2.0
#include "http/cookie.h"

#include "http/chars.h"

#include <time.h>

bool lt_cookie_next(struct lt_span *header, struct lt_cookie *c) {
    while (header->n) {
        size_t n = lt_span_find(*header, ';');
        struct lt_span piece = lt_span_trim(lt_span(header->p, n));
        *header = n < header->n ? lt_span(header->p + n + 1, header->n - n - 1) : lt_span(header->p + n, 0);
        if (piece.n == 0)
            continue;
        size_t equals = lt_span_find(piece, '=');
        c->raw = piece;
        c->name = equals < piece.n ? lt_span_trim(lt_span(piece.p, equals)) : lt_span(piece.p, 0);
        c->value = equals < piece.n ? lt_span_trim(lt_span(piece.p + equals + 1, piece.n - equals - 1)) : piece;
        return true;
    }
    return false;
}

// --- Set-Cookie ---

static int64_t read_seconds(struct lt_span text, bool *ok) {
    bool minus = text.n && text.p[0] == '-';
    struct lt_span digits = minus ? lt_span(text.p + 1, text.n - 1) : text;
    int64_t v = 0;
    *ok = digits.n > 0;
    for (size_t i = 0; i < digits.n; i++) {
        if (!lt_char_is(digits.p[i], LT_CHAR_DIGIT)) {
            *ok = false;
            return 0;
        }
        if (v < INT64_MAX / 10000) // longer than any clock runs: no need to count on
            v = v * 10 + (digits.p[i] - '0');
    }
    return minus ? -v : v;
}

static enum lt_same_site same_site_of(struct lt_span value) {
    if (lt_span_eq_nocase(value, LT_S("lax")))
        return LT_SAME_SITE_LAX;
    if (lt_span_eq_nocase(value, LT_S("strict")))
        return LT_SAME_SITE_STRICT;
    return lt_span_eq_nocase(value, LT_S("none")) ? LT_SAME_SITE_NONE : LT_SAME_SITE_UNSET;
}

// One attribute (RFC 6265 sections 5.2.1 to 5.2.6): what cannot be read is passed over.
static void read_attribute(struct lt_span name, struct lt_span value, struct lt_set_cookie *c) {
    bool ok;
    if (lt_span_eq_nocase(name, LT_S("path"))) {
        c->path = value.n && value.p[0] == '/' ? value : lt_span(NULL, 0);
    } else if (lt_span_eq_nocase(name, LT_S("domain")) && value.n) {
        c->domain = value.p[0] == '.' ? lt_span(value.p + 1, value.n - 1) : value;
    } else if (lt_span_eq_nocase(name, LT_S("max-age"))) {
        int64_t seconds = read_seconds(value, &ok);
        if (ok) {
            c->has_max_age = true;
            c->max_age = seconds;
        }
    } else if (lt_span_eq_nocase(name, LT_S("expires"))) {
        int64_t ms;
        if (lt_cookie_date(value, &ms)) {
            c->has_expires = true;
            c->expires = ms;
        }
    } else if (lt_span_eq_nocase(name, LT_S("secure"))) {
        c->secure = true;
    } else if (lt_span_eq_nocase(name, LT_S("httponly"))) {
        c->http_only = true;
    } else if (lt_span_eq_nocase(name, LT_S("samesite"))) {
        c->same_site = same_site_of(value);
    }
}

bool lt_set_cookie_parse(struct lt_span value, struct lt_set_cookie *c) {
    size_t n = lt_span_find(value, ';');
    struct lt_span pair = lt_span(value.p, n), rest = lt_span(value.p + n, value.n - n);
    size_t equals = lt_span_find(pair, '=');
    *c = (struct lt_set_cookie){.name = lt_span_trim(lt_span(pair.p, equals))};
    if (equals == pair.n || c->name.n == 0)
        return false;
    c->value = lt_span_trim(lt_span(pair.p + equals + 1, pair.n - equals - 1));
    struct lt_cookie attribute;
    while (lt_cookie_next(&rest, &attribute)) {
        bool flag = attribute.name.n == 0 && lt_span_find(attribute.raw, '=') == attribute.raw.n;
        read_attribute(flag ? attribute.raw : attribute.name, flag ? lt_span(attribute.raw.p, 0) : attribute.value, c);
    }
    return true;
}

bool lt_set_cookie_deletes(const struct lt_set_cookie *c, int64_t now) {
    return c->has_max_age ? c->max_age <= 0 : c->has_expires && c->expires <= now;
}

bool lt_cookie_path_match(struct lt_span cookie_path, struct lt_span request_path) {
    struct lt_span path = lt_span(request_path.p, lt_span_find(request_path, '?'));
    if (cookie_path.n == 0)
        return true;
    if (!lt_span_starts(path, cookie_path))
        return false;
    return path.n == cookie_path.n || cookie_path.p[cookie_path.n - 1] == '/' || path.p[cookie_path.n] == '/';
}

// --- dates (RFC 6265 section 5.1.1) ---

static bool is_delimiter(char c) {
    return c == '\t' || (c >= 0x20 && c <= 0x2f) || (c >= 0x3b && c <= 0x40) || (c >= 0x5b && c <= 0x60) ||
           (c >= 0x7b && c <= 0x7e);
}

static bool next_token(struct lt_span *text, struct lt_span *token) {
    while (text->n && is_delimiter(text->p[0]))
        *text = lt_span(text->p + 1, text->n - 1);
    size_t n = 0;
    while (n < text->n && !is_delimiter(text->p[n]))
        n++;
    *token = lt_span(text->p, n);
    *text = lt_span(text->p + n, text->n - n);
    return n > 0;
}

// One to `max` digits at the front; -1: none, or more than that.
static int take_number(struct lt_span *s, size_t max) {
    int v = 0;
    size_t n = 0;
    for (; n < s->n && lt_char_is(s->p[n], LT_CHAR_DIGIT); n++) {
        if (n == max)
            return -1;
        v = v * 10 + (s->p[n] - '0');
    }
    *s = lt_span(s->p + n, s->n - n);
    return n ? v : -1;
}

static bool read_clock(struct lt_span token, struct tm *t) {
    int v[3];
    for (unsigned i = 0; i < 3; i++) {
        v[i] = take_number(&token, 2);
        if (v[i] < 0 || (i < 2 && (token.n == 0 || token.p[0] != ':')))
            return false;
        if (i < 2)
            token = lt_span(token.p + 1, token.n - 1);
    }
    t->tm_hour = v[0];
    t->tm_min = v[1];
    t->tm_sec = v[2];
    return true;
}

static int read_month(struct lt_span token) {
    static const char months[] = "janfebmaraprmayjunjulaugsepoctnovdec";
    for (int i = 0; token.n >= 3 && i < 12; i++)
        if (lt_span_eq_nocase(lt_span(token.p, 3), lt_span(months + 3 * (size_t)i, 3)))
            return i;
    return -1;
}

bool lt_cookie_date(struct lt_span text, int64_t *ms) {
    struct tm t = {0};
    bool has_clock = false;
    int day = -1, month = -1, year = -1, n;
    struct lt_span token;
    while (next_token(&text, &token)) {
        struct lt_span s = token;
        if (!has_clock && read_clock(token, &t))
            has_clock = true;
        else if (day < 0 && (n = take_number(&s, 2)) >= 0)
            day = n;
        else if (month < 0 && (n = read_month(token)) >= 0)
            month = n;
        else if (s = token, year < 0 && token.n >= 2 && (n = take_number(&s, 4)) >= 0 && token.n - s.n >= 2)
            year = n;
    }
    if (year >= 0 && year < 100)
        year += year < 70 ? 2000 : 1900;
    if (!has_clock || day < 1 || day > 31 || month < 0 || year < 1601 || t.tm_hour > 23 || t.tm_min > 59 || t.tm_sec > 59)
        return false;
    t.tm_mday = day;
    t.tm_mon = month;
    t.tm_year = year - 1900;
    *ms = (int64_t)timegm(&t) * 1000;
    return t.tm_mday == day; // timegm() makes 2 March of 30 February
}

bool lt_cookie_name_ok(struct lt_span name) {
    for (size_t i = 0; i < name.n; i++)
        if (!lt_char_is(name.p[i], LT_CHAR_TOKEN))
            return false;
    return name.n > 0;
}

bool lt_cookie_value_ok(struct lt_span value) {
    if (value.n >= 2 && value.p[0] == '"' && value.p[value.n - 1] == '"')
        value = lt_span(value.p + 1, value.n - 2);
    for (size_t i = 0; i < value.n; i++)
        if (!lt_char_is(value.p[i], LT_CHAR_COOKIE))
            return false;
    return true;
}
