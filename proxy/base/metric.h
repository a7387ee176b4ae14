// SPDX-License-Identifier: Apache-2.0
// Counters, gauges and histograms from static tables. Each worker adds to slots of its own; a scrape sums them.
#pragma once

#include "base/buf.h"

#include <stdatomic.h>
#include <stdint.h>

enum lt_metric_kind { LT_COUNTER, LT_GAUGE, LT_HISTOGRAM };

// One row is one time series; rows of the same name stand together. `labels` is Prometheus text without the
// braces (`outcome="ok"`), or NULL. A row's index in its table is its id.
struct lt_metric {
    const char *name, *help;
    enum lt_metric_kind kind;
    const char *labels;
};

// Upper bounds of the histogram's buckets, in microseconds; the last, +Inf, is implied.
enum {
    LT_HISTOGRAM_BUCKETS = 16,
    LT_HISTOGRAM_SLOTS = LT_HISTOGRAM_BUCKETS + 2, // and what is beyond the last bound, and the sum in microseconds
};
extern const uint64_t lt_histogram_bounds[LT_HISTOGRAM_BUCKETS];

// The slots of one table for one worker. Written by the worker alone, read by the admin thread.
struct lt_metrics {
    const struct lt_metric *rows;
    unsigned n;
    unsigned *first;         // row -> its first slot
    _Atomic uint64_t *slots; // a counter or gauge takes one, a histogram LT_HISTOGRAM_SLOTS
};

// False: no memory. `rows` must outlive it.
bool lt_metrics_init(struct lt_metrics *m, const struct lt_metric *rows, unsigned n);
void lt_metrics_fini(struct lt_metrics *m);

static inline void lt_metric_add(struct lt_metrics *m, unsigned row, int64_t delta) {
    _Atomic uint64_t *slot = &m->slots[m->first[row]];
    atomic_store_explicit(slot, atomic_load_explicit(slot, memory_order_relaxed) + (uint64_t)delta, memory_order_relaxed);
}

static inline void lt_metric_set(struct lt_metrics *m, unsigned row, uint64_t value) {
    atomic_store_explicit(&m->slots[m->first[row]], value, memory_order_relaxed);
}

// Adds one observation of `us` microseconds to a histogram row.
void lt_metric_observe(struct lt_metrics *m, unsigned row, uint64_t us);

// The value of a counter or gauge, or a histogram's number of observations, over `all[0..n)`.
uint64_t lt_metrics_total(struct lt_metrics *const *all, unsigned n, unsigned row);

// A histogram over `all[0..n)`: how many observations in each bucket and beyond the last bound (not summed up), and their sum.
void lt_metrics_times(struct lt_metrics *const *all, unsigned n, unsigned row, uint64_t slots[LT_HISTOGRAM_SLOTS]);

// Appends the table in Prometheus text format 0.0.4, summed over `all[0..n)`, which share one table.
// Histograms print in seconds. False: `out` is full.
bool lt_metrics_print(struct lt_buf *out, struct lt_metrics *const *all, unsigned n);
