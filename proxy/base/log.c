// SPDX-License-Identifier: Apache-2.0
#include "base/log.h"

#include "base/clock.h"

#include <ctype.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

static atomic_int threshold = LT_LOG_INFO;
static atomic_int style = LT_LOG_TEXT;

static const char *const level_names[] = {"error", "warn", "info", "debug"};

void lt_log_setup(enum lt_log_level level, enum lt_log_format format) {
    atomic_store(&threshold, (int)level);
    atomic_store(&style, (int)format);
}

bool lt_log_wants(enum lt_log_level level) {
    return (int)level <= atomic_load_explicit(&threshold, memory_order_relaxed);
}

struct line {
    char *p;
    size_t n, size;
};

static void put_char(struct line *l, char c) {
    if (l->n < l->size)
        l->p[l->n++] = c;
}

static void put(struct line *l, struct lt_span s) {
    size_t n = s.n < l->size - l->n ? s.n : l->size - l->n;
    if (n)
        memcpy(l->p + l->n, s.p, n);
    l->n += n;
}

static bool is_plain(struct lt_span s) {
    for (size_t i = 0; i < s.n; i++)
        if ((unsigned char)s.p[i] <= ' ' || (unsigned char)s.p[i] > '~' || strchr("\"\\=", s.p[i]))
            return false;
    return s.n > 0;
}

// Bytes over 0x7e are escaped too: what a peer sent need not be UTF-8, and a JSON reader insists on it.
static void put_quoted(struct line *l, struct lt_span s) {
    static const char hex[] = "0123456789abcdef";
    put_char(l, '"');
    for (size_t i = 0; i < s.n; i++) {
        unsigned char c = (unsigned char)s.p[i];
        if (c == '"' || c == '\\') {
            put_char(l, '\\');
            put_char(l, (char)c);
        } else if (c < ' ' || c > '~') {
            put(l, LT_S("\\u00"));
            put_char(l, hex[c >> 4]);
            put_char(l, hex[c & 15]);
        } else {
            put_char(l, (char)c);
        }
    }
    put_char(l, '"');
}

static void put_number(struct line *l, int64_t v) {
    char text[24];
    int n = snprintf(text, sizeof text, "%lld", (long long)v);
    put(l, lt_span(text, (size_t)n));
}

static void put_field(struct line *l, bool json, const struct lt_field *f) {
    put_char(l, json ? ',' : ' ');
    if (json)
        put_quoted(l, lt_span_cstr(f->key));
    else
        put(l, lt_span_cstr(f->key));
    put_char(l, json ? ':' : '=');
    if (f->is_number)
        put_number(l, f->number);
    else if (!json && is_plain(f->text))
        put(l, f->text);
    else
        put_quoted(l, f->text);
}

static struct lt_span timestamp(char *out, size_t size) {
    int64_t now = lt_clock_wall();
    time_t seconds = (time_t)(now / 1000);
    struct tm t;
    gmtime_r(&seconds, &t);
    size_t n = strftime(out, size, "%Y-%m-%dT%H:%M:%S", &t);
    n += (size_t)snprintf(out + n, size - n, ".%03dZ", (int)(now % 1000));
    return lt_span(out, n);
}

size_t lt_log_line(char *out, size_t size, enum lt_log_level level, const char *event, const struct lt_field *fields,
                   size_t n) {
    bool json = atomic_load_explicit(&style, memory_order_relaxed) == LT_LOG_JSON;
    struct line l = {.p = out, .size = size - (json ? 2 : 1)};
    char when[40];
    if (json)
        put_char(&l, '{');
    const struct lt_field head[] = {lt_f("time", timestamp(when, sizeof when)), lt_fs("level", level_names[level]),
                                    lt_fs("event", event)};
    for (size_t i = 0; i < sizeof head / sizeof *head; i++)
        put_field(&l, json, &head[i]);
    for (size_t i = 0; i < n; i++)
        put_field(&l, json, &fields[i]);
    // put_field leads with a separator: the first one is not wanted.
    size_t skip = json ? 1 : 0;
    memmove(out + skip, out + skip + 1, l.n - skip - 1);
    l.n--;
    l.size = size;
    if (json)
        put_char(&l, '}');
    put_char(&l, '\n');
    return l.n;
}

// --- what went wrong lately ---

// Rare events, so one lock. The newest row stands at the end.
static struct {
    pthread_mutex_t lock;
    struct lt_log_row rows[LT_LOG_ROWS];
    unsigned n;
} recent = {.lock = PTHREAD_MUTEX_INITIALIZER};

static void copy(char *to, size_t size, struct lt_span s) {
    size_t n = s.n < size ? s.n : size - 1;
    if (n)
        memcpy(to, s.p, n);
    to[n] = '\0';
}

// A request's id can come from a peer: only what looks like one is shown.
static bool is_id(struct lt_span s) {
    for (size_t i = 0; i < s.n; i++)
        if (!isalnum((unsigned char)s.p[i]) && !strchr("-_.:", s.p[i]))
            return false;
    return true;
}

static void make_row(struct lt_log_row *row, enum lt_log_level level, const char *event, const struct lt_field *fields,
                     size_t n) {
    *row = (struct lt_log_row){.time = lt_clock_wall(), .level = level, .count = 1};
    copy(row->event, sizeof row->event, lt_span_cstr(event));
    for (size_t i = 0; i < n; i++) {
        const struct lt_field *f = &fields[i];
        if (strcmp(f->key, "why") == 0)
            copy(row->why, sizeof row->why, f->text);
        else if (strcmp(f->key, "do") == 0)
            copy(row->advice, sizeof row->advice, f->text);
        else if (strcmp(f->key, "id") == 0 && is_id(f->text))
            copy(row->id, sizeof row->id, f->text);
    }
}

static bool is_same(const struct lt_log_row *a, const struct lt_log_row *b) {
    return a->level == b->level && strcmp(a->event, b->event) == 0 && strcmp(a->why, b->why) == 0 &&
           strcmp(a->advice, b->advice) == 0;
}

// The same again counts up and comes to the end: a store that is away does not push out all else.
static void remember(enum lt_log_level level, const char *event, const struct lt_field *fields, size_t n) {
    struct lt_log_row row;
    make_row(&row, level, event, fields, n);
    pthread_mutex_lock(&recent.lock);
    unsigned at = 0;
    while (at < recent.n && !is_same(&recent.rows[at], &row))
        at++;
    if (at < recent.n)
        row.count += recent.rows[at].count;
    else if (recent.n == LT_LOG_ROWS)
        at = 0;
    else
        recent.n++;
    memmove(&recent.rows[at], &recent.rows[at + 1], (recent.n - at - 1) * sizeof row);
    recent.rows[recent.n - 1] = row;
    pthread_mutex_unlock(&recent.lock);
}

void lt_log_note(const char *event, const char *why, struct lt_span id) {
    const struct lt_field fields[] = {lt_fs("why", why), lt_f("id", id)};
    remember(LT_LOG_ERROR, event, fields, 2);
}

unsigned lt_log_recent(struct lt_log_row rows[LT_LOG_ROWS]) {
    pthread_mutex_lock(&recent.lock);
    unsigned n = recent.n;
    for (unsigned i = 0; i < n; i++)
        rows[i] = recent.rows[n - 1 - i];
    pthread_mutex_unlock(&recent.lock);
    return n;
}

// --- an event ---

void lt_log_event(enum lt_log_level level, const char *event, const struct lt_field *fields, size_t n) {
    if (level <= LT_LOG_WARN)
        remember(level, event, fields, n);
    if (!lt_log_wants(level))
        return;
    char line[4096];
    size_t len = lt_log_line(line, sizeof line, level, event, fields, n);
    if (write(STDERR_FILENO, line, len) < 0)
        return; // nowhere left to say it
}
