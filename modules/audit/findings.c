// SPDX-License-Identifier: Apache-2.0
#include "modules/audit/findings.h"

#include "base/log.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>

const char *const audit_kind_names[AUDIT_KINDS + 1] = {"disk", "sticky", "replica-id", "lost-session", "growth", NULL};

static struct {
    pthread_mutex_t lock;
    struct audit_row rows[AUDIT_ROWS];
    unsigned n, limit;
    uint64_t counts[AUDIT_KINDS], lost, lost_before;
} table = {.lock = PTHREAD_MUTEX_INITIALIZER, .limit = AUDIT_ROWS};

static atomic_uint seen;

enum audit_kind audit_kind_of(struct lt_span name) {
    unsigned k = 0;
    while (k < AUDIT_KINDS && !lt_span_eq(name, lt_span_cstr(audit_kind_names[k])))
        k++;
    return (enum audit_kind)k;
}

void audit_limit(unsigned rows) {
    pthread_mutex_lock(&table.lock);
    table.limit = rows < AUDIT_ROWS ? rows : AUDIT_ROWS;
    pthread_mutex_unlock(&table.lock);
}

// A file's name may hold anything, and it is shown in logs and on pages.
static void put(char *out, size_t size, const char *text) {
    size_t n = 0;
    for (; text[n] && n < size - 1; n++)
        out[n] = (char)(text[n] >= ' ' && text[n] <= '~' ? text[n] : '?');
    out[n] = '\0';
}

static struct audit_row *find(enum audit_kind kind, const char *route, const char *where) {
    for (unsigned i = 0; i < table.n; i++) {
        struct audit_row *r = &table.rows[i];
        if (r->kind == kind && strcmp(r->route, route) == 0 && strcmp(r->where, where) == 0)
            return r;
    }
    return NULL;
}

static struct audit_row *make(enum audit_kind kind, const char *route, const char *where) {
    if (table.n >= table.limit)
        return NULL;
    struct audit_row *r = &table.rows[table.n++];
    *r = (struct audit_row){.kind = kind};
    snprintf(r->route, sizeof r->route, "%s", route);
    snprintf(r->where, sizeof r->where, "%s", where);
    return r;
}

void audit_found(enum audit_kind kind, const char *route, const char *where, const char *example, uint64_t n) {
    char place[AUDIT_WHERE], text[AUDIT_EXAMPLE];
    put(place, sizeof place, where);
    put(text, sizeof text, example);
    pthread_mutex_lock(&table.lock);
    struct audit_row *r = find(kind, route, place);
    if (!r && table.n >= table.limit / 2) { // the rest of the table is for each kind's rest
        route = "other";
        snprintf(place, sizeof place, "other");
        r = find(kind, route, place);
    }
    bool first = !r;
    r = r ? r : make(kind, route, place);
    if (r) {
        memcpy(r->example, text, sizeof text);
        r->count += n;
    }
    table.counts[kind] += n;
    pthread_mutex_unlock(&table.lock);
    atomic_fetch_or(&seen, 1u << kind);
    if (first)
        LT_LOG(LT_LOG_WARN, "audit_finding", lt_fs("finding", audit_kind_names[kind]), lt_fs("route", route),
               lt_fs("where", place), lt_fs("example", text));
}

unsigned audit_seen(void) {
    return atomic_load_explicit(&seen, memory_order_relaxed);
}

void audit_see_lost(uint64_t total) {
    pthread_mutex_lock(&table.lock);
    table.lost = total;
    table.counts[AUDIT_LOST] = total - table.lost_before;
    if (total > table.lost_before)
        atomic_fetch_or(&seen, 1u << AUDIT_LOST);
    pthread_mutex_unlock(&table.lock);
}

unsigned audit_look(struct audit_row *rows, unsigned max) {
    pthread_mutex_lock(&table.lock);
    unsigned n = table.n < max ? table.n : max;
    memcpy(rows, table.rows, n * sizeof *rows);
    pthread_mutex_unlock(&table.lock);
    return n;
}

uint64_t audit_count(enum audit_kind kind) {
    pthread_mutex_lock(&table.lock);
    uint64_t n = table.counts[kind];
    pthread_mutex_unlock(&table.lock);
    return n;
}

void audit_clear(void) {
    pthread_mutex_lock(&table.lock);
    table.n = 0;
    memset(table.counts, 0, sizeof table.counts);
    table.lost_before = table.lost;
    atomic_store(&seen, 0);
    pthread_mutex_unlock(&table.lock);
}
