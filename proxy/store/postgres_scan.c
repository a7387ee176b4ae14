// SPDX-License-Identifier: Apache-2.0
#include "store/postgres_scan.h"

#include "base/clock.h"
#include "net/postgres_library.h"

#include <stdio.h>
#include <stdlib.h>

enum { KEY, TAG, TTL, LEFT, SIZE, LOCKED, ROWS = 500 };

struct walk {
    struct lt_postgres_call call;
    struct lt_postgres *postgres;
    struct lt_store_scan *scan;
    unsigned statement;
    char prefix[LT_STORE_PREFIX_MAX + 2];
    char last[LT_STORE_PREFIX_MAX + LT_TOKEN_HASH_TEXT + 2]; // the key behind which the next rows are
};

uint64_t postgres_number(const PGresult *r, int row, int column) {
    const unsigned char *p = (const unsigned char *)lt_pq.PQgetvalue(r, row, column);
    uint64_t n = 0;
    for (int i = 0; i < 8 && lt_pq.PQgetlength(r, row, column) == 8; i++)
        n = n << 8 | p[i];
    return n;
}

static void fill(struct lt_postgres_call *call, struct lt_postgres_args *a) {
    struct walk *w = LT_ENTRY(call, struct walk, call);
    a->statement = w->statement;
    a->values[0] = w->last;
    a->values[1] = w->prefix;
}

static void end(struct walk *w, enum lt_store_result result) {
    struct lt_store_scan *scan = w->scan;
    free(w);
    scan->done(scan, result);
}

static void tell(struct walk *w, const PGresult *r, int i) {
    struct lt_store_row row = {0};
    snprintf(w->last, sizeof w->last, "%s", lt_pq.PQgetvalue(r, i, KEY));
    snprintf(row.hash, sizeof row.hash, "%s", w->last + strlen(w->prefix));
    snprintf(row.tag, sizeof row.tag, "%s", lt_pq.PQgetvalue(r, i, TAG));
    row.ttl = (int64_t)postgres_number(r, i, TTL);
    row.size = (size_t)postgres_number(r, i, SIZE);
    row.expires = row.size ? lt_clock_wall() + (int64_t)postgres_number(r, i, LEFT) : 0;
    row.locked = postgres_number(r, i, LOCKED) != 0;
    w->scan->found(w->scan, &row);
}

static void on_rows(struct lt_postgres_call *call, enum lt_err e, const PGresult *r) {
    struct walk *w = LT_ENTRY(call, struct walk, call);
    bool ok = e == LT_OK && r && lt_pq.PQresultStatus(r) == PGRES_TUPLES_OK;
    int n = ok ? lt_pq.PQntuples(r) : 0;
    for (int i = 0; i < n; i++)
        tell(w, r, i);
    if (n == ROWS)
        lt_postgres_send(w->postgres, &w->call);
    else
        end(w, ok ? LT_STORE_OK : LT_STORE_DOWN);
}

void postgres_scan_begin(struct lt_postgres *p, unsigned statement, struct lt_store *s, struct lt_store_scan *scan) {
    struct walk *w = calloc(1, sizeof *w);
    if (!w) {
        scan->done(scan, LT_STORE_DOWN);
        return;
    }
    w->call = (struct lt_postgres_call){.fill = fill, .done = on_rows};
    w->postgres = p;
    w->scan = scan;
    w->statement = statement;
    snprintf(w->prefix, sizeof w->prefix, "%s:", s->prefix);
    snprintf(w->last, sizeof w->last, "%s", w->prefix);
    lt_postgres_send(p, &w->call);
}
