// SPDX-License-Identifier: Apache-2.0
#include "base/lost.h"

#include "base/clock.h"

#include <pthread.h>
#include <stdio.h>

static struct lt_lost table[LT_LOST_ROWS];
static unsigned n_rows;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static struct lt_lost *find(const char *reason, const char *route) {
    for (unsigned i = 0; i < n_rows; i++)
        if (strcmp(table[i].reason, reason) == 0 && strcmp(table[i].route, route) == 0)
            return &table[i];
    return NULL;
}

static struct lt_lost *make(const char *reason, const char *route) {
    if (n_rows == LT_LOST_ROWS)
        return NULL;
    struct lt_lost *row = &table[n_rows++];
    *row = (struct lt_lost){.reason = reason};
    snprintf(row->route, sizeof row->route, "%s", route);
    return row;
}

void lt_lost_add(const char *reason, struct lt_span path) {
    char route[LT_ROUTE];
    lt_route(path, route);
    pthread_mutex_lock(&lock);
    if (n_rows >= LT_LOST_ROWS / 2 && !find(reason, route))
        snprintf(route, sizeof route, "other"); // the rest of the table is for each reason's rest
    struct lt_lost *row = find(reason, route);
    row = row ? row : make(reason, route);
    if (row) {
        row->count++;
        row->last = lt_clock_mono();
    }
    pthread_mutex_unlock(&lock);
}

unsigned lt_lost_look(struct lt_lost *rows, unsigned max) {
    pthread_mutex_lock(&lock);
    unsigned n = n_rows < max ? n_rows : max;
    memcpy(rows, table, n * sizeof *rows);
    pthread_mutex_unlock(&lock);
    return n;
}

bool lt_lost_print(struct lt_buf *out) {
    struct lt_lost rows[LT_LOST_ROWS];
    unsigned n = lt_lost_look(rows, LT_LOST_ROWS);
    bool ok = lt_buf_printf(out, "# HELP lethe_sessions_lost_total Sessions that were lost, or look so.\n"
                                 "# TYPE lethe_sessions_lost_total counter\n");
    for (unsigned i = 0; i < n; i++)
        ok = ok && lt_buf_printf(out, "lethe_sessions_lost_total{reason=\"%s\",route=\"%s\"} %llu\n", rows[i].reason,
                                 rows[i].route, (unsigned long long)rows[i].count);
    return ok;
}

void lt_lost_reset(void) {
    n_rows = 0;
}
