// SPDX-License-Identifier: Apache-2.0
#include "modules/session/unnamed.h"

#include "base/log.h"

#include <pthread.h>
#include <stdio.h>

enum { ID_LEAST = 16, ID_MOST = 96, ID_NAMELESS = 20 }; // bytes of a value; the last: where the name says nothing

static struct unnamed table[UNNAMED_ROWS];
static unsigned n_rows;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static bool has(struct lt_span text, struct lt_span part) {
    for (size_t i = 0; i + part.n <= text.n; i++)
        if (lt_span_eq_nocase(lt_span(text.p + i, part.n), part))
            return true;
    return false;
}

static bool ends(struct lt_span text, struct lt_span part) {
    return text.n >= part.n && lt_span_eq_nocase(lt_span(text.p + text.n - part.n, part.n), part);
}

// Random, and not what a program has to say: no blank, letters and digits, no JSON (`{"` in base64, plain or deflated). `plain`: nothing
// else is in it, a number in base 16, 32, 36 or 62, as PHP and Java make ids.
static bool is_id(struct lt_span value, bool *plain) {
    static const struct lt_span marks = {"-_.:%+/=~!|*", 12};
    size_t digits = 0, letters = 0;
    for (size_t i = 0; i < value.n; i++) {
        char c = lt_ascii_lower(value.p[i]);
        bool letter = c >= 'a' && c <= 'z', digit = c >= '0' && c <= '9';
        if (!letter && !digit && lt_span_find(marks, c) == marks.n)
            return false;
        digits += digit;
        letters += letter;
    }
    *plain = digits + letters == value.n;
    return value.n >= ID_LEAST && value.n <= ID_MOST && digits && letters && !lt_span_starts(value, LT_S("eyJ")) &&
           !lt_span_starts(value, LT_S(".eJ"));
}

static bool is_companion(struct lt_span name) {
    static const struct lt_span parts[] = {{"csrf", 4},  {"xsrf", 4},  {"forgery", 7}, {"verification", 12},
                                           {"nonce", 5}, {"state", 5}, {"flash", 5}};
    for (unsigned i = 0; i < sizeof parts / sizeof *parts; i++)
        if (has(name, parts[i]))
            return true;
    return ends(name, LT_S(".sig"));
}

bool unnamed_looks_like_session(const struct lt_set_cookie *c) {
    bool plain;
    if (c->name.n >= UNNAMED_NAME || !lt_cookie_name_ok(c->name) || !is_id(c->value, &plain) || is_companion(c->name))
        return false;
    bool named_so = has(c->name, LT_S("sess")) || ends(c->name, LT_S("sid"));
    bool kept_so = (c->http_only || plain) && !c->has_max_age && !c->has_expires;
    return named_so || (kept_so && c->value.n >= ID_NAMELESS);
}

static struct unnamed *row_of(const char *name) {
    for (unsigned i = 0; i < n_rows; i++)
        if (strcmp(table[i].name, name) == 0)
            return &table[i];
    if (n_rows == UNNAMED_ROWS)
        return NULL;
    struct unnamed *row = &table[n_rows++];
    *row = (struct unnamed){.count = 0};
    snprintf(row->name, sizeof row->name, "%s", name);
    return row;
}

void unnamed_note(struct lt_span name, struct lt_span path) {
    char text[UNNAMED_NAME], route[LT_ROUTE];
    snprintf(text, sizeof text, "%.*s", (int)name.n, name.p);
    lt_route(path, route);
    pthread_mutex_lock(&lock);
    struct unnamed *row = row_of(text);
    bool first = row && row->count++ == 0;
    if (row)
        snprintf(row->route, sizeof row->route, "%s", route);
    pthread_mutex_unlock(&lock);
    if (first)
        LT_LOG(
            LT_LOG_WARN, "unnamed_cookie", lt_fs("cookie", text), lt_fs("route", route),
            lt_fs("why", "it looks like a session's, and session.cookies does not name it"),
            lt_fs("do",
                  "write it into session.cookies (with files into files.cookie, too) or into session.ignore_cookies"));
}

unsigned unnamed_look(struct unnamed *rows, unsigned max) {
    pthread_mutex_lock(&lock);
    unsigned n = n_rows < max ? n_rows : max;
    memcpy(rows, table, n * sizeof *rows);
    pthread_mutex_unlock(&lock);
    return n;
}

void unnamed_reset(void) {
    n_rows = 0;
}
