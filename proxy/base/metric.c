// SPDX-License-Identifier: Apache-2.0
#include "base/metric.h"

#include <stdlib.h>

const uint64_t lt_histogram_bounds[LT_HISTOGRAM_BUCKETS] = {
    100, 250, 500, 1000, 2500, 5000, 10000, 25000, 50000, 100000, 250000, 500000, 1000000, 2500000, 10000000, 60000000};

static unsigned slots_of(enum lt_metric_kind kind) {
    return kind == LT_HISTOGRAM ? LT_HISTOGRAM_SLOTS : 1;
}

bool lt_metrics_init(struct lt_metrics *m, const struct lt_metric *rows, unsigned n) {
    *m = (struct lt_metrics){.rows = rows, .n = n};
    unsigned total = 0;
    for (unsigned i = 0; i < n; i++)
        total += slots_of(rows[i].kind);
    m->first = calloc(n + 1, sizeof *m->first);
    m->slots = calloc(total + 1, sizeof *m->slots);
    if (!m->first || !m->slots) {
        lt_metrics_fini(m);
        return false;
    }
    for (unsigned i = 0, at = 0; i < n; at += slots_of(rows[i].kind), i++)
        m->first[i] = at;
    return true;
}

void lt_metrics_fini(struct lt_metrics *m) {
    free(m->first);
    free(m->slots);
    *m = (struct lt_metrics){0};
}

static void bump(_Atomic uint64_t *slot, uint64_t delta) {
    atomic_store_explicit(slot, atomic_load_explicit(slot, memory_order_relaxed) + delta, memory_order_relaxed);
}

void lt_metric_observe(struct lt_metrics *m, unsigned row, uint64_t us) {
    _Atomic uint64_t *h = &m->slots[m->first[row]];
    unsigned b = 0;
    while (b < LT_HISTOGRAM_BUCKETS && us > lt_histogram_bounds[b])
        b++;
    bump(&h[b], 1);
    bump(&h[LT_HISTOGRAM_BUCKETS + 1], us);
}

static uint64_t sum(struct lt_metrics *const *all, unsigned n, unsigned slot) {
    uint64_t total = 0;
    for (unsigned i = 0; i < n; i++)
        total += atomic_load_explicit(&all[i]->slots[slot], memory_order_relaxed);
    return total;
}

uint64_t lt_metrics_total(struct lt_metrics *const *all, unsigned n, unsigned row) {
    const struct lt_metrics *m = all[0];
    unsigned first = m->first[row], slots = slots_of(m->rows[row].kind);
    uint64_t total = 0;
    for (unsigned i = 0; i < (slots == 1 ? 1 : slots - 1); i++)
        total += sum(all, n, first + i);
    return total;
}

void lt_metrics_times(struct lt_metrics *const *all, unsigned n, unsigned row, uint64_t slots[LT_HISTOGRAM_SLOTS]) {
    for (unsigned i = 0; i < LT_HISTOGRAM_SLOTS; i++)
        slots[i] = sum(all, n, all[0]->first[row] + i);
}

static bool print_histogram(struct lt_buf *out, const struct lt_metric *row, struct lt_metrics *const *all, unsigned n,
                            unsigned first) {
    const char *labels = row->labels ? row->labels : "", *comma = row->labels ? "," : "";
    uint64_t running = 0;
    for (unsigned b = 0; b < LT_HISTOGRAM_BUCKETS; b++) {
        running += sum(all, n, first + b);
        if (!lt_buf_printf(out, "%s_bucket{%s%sle=\"%g\"} %llu\n", row->name, labels, comma,
                           (double)lt_histogram_bounds[b] / 1e6, (unsigned long long)running))
            return false;
    }
    running += sum(all, n, first + LT_HISTOGRAM_BUCKETS);
    const char *open = row->labels ? "{" : "", *close = row->labels ? "}" : "";
    return lt_buf_printf(out, "%s_bucket{%s%sle=\"+Inf\"} %llu\n%s_sum%s%s%s %.6f\n%s_count%s%s%s %llu\n", row->name,
                         labels, comma, (unsigned long long)running, row->name, open, labels, close,
                         (double)sum(all, n, first + LT_HISTOGRAM_BUCKETS + 1) / 1e6, row->name, open, labels, close,
                         (unsigned long long)running);
}

bool lt_metrics_print(struct lt_buf *out, struct lt_metrics *const *all, unsigned n) {
    static const char *const kinds[] = {"counter", "gauge", "histogram"};
    for (unsigned i = 0; n && i < all[0]->n; i++) {
        const struct lt_metric *row = &all[0]->rows[i];
        bool first_of_name = i == 0 || strcmp(row->name, all[0]->rows[i - 1].name) != 0;
        if (first_of_name &&
            !lt_buf_printf(out, "# HELP %s %s\n# TYPE %s %s\n", row->name, row->help, row->name, kinds[row->kind]))
            return false;
        unsigned slot = all[0]->first[i];
        bool ok = row->kind == LT_HISTOGRAM ? print_histogram(out, row, all, n, slot)
                                            : lt_buf_printf(out, "%s%s%s%s %lld\n", row->name, row->labels ? "{" : "",
                                                            row->labels ? row->labels : "", row->labels ? "}" : "",
                                                            (long long)sum(all, n, slot));
        if (!ok)
            return false;
    }
    return true;
}
