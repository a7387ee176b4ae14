// SPDX-License-Identifier: Apache-2.0
#include "base/metric.h"

#include "tests/rig/leaks.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>

TestSuite(metric, .fini = lt_rig_leaks);

enum { OK, FAILED, OPEN, SECONDS, BY_KIND, ROWS };

static const struct lt_metric rows[ROWS] = {
    [OK] = {"t_total", "Requests.", LT_COUNTER, "outcome=\"ok\""},
    [FAILED] = {"t_total", "Requests.", LT_COUNTER, "outcome=\"failed\""},
    [OPEN] = {"t_open", "Open.", LT_GAUGE, NULL},
    [SECONDS] = {"t_seconds", "Time.", LT_HISTOGRAM, NULL},
    [BY_KIND] = {"t_kind_seconds", "Time by kind.", LT_HISTOGRAM, "kind=\"a\""},
};

static char *print(struct lt_metrics *const *all, unsigned n) {
    struct lt_buf out;
    lt_buf_init(&out, 1 << 16);
    cr_assert(lt_metrics_print(&out, all, n));
    cr_assert(lt_buf_append(&out, LT_S("\0")));
    return out.p;
}

static bool has(const char *text, const char *line) {
    const char *hit = strstr(text, line);
    return hit && (hit == text || hit[-1] == '\n');
}

Test(metric, sums_over_workers) {
    struct lt_metrics a, b, *const all[] = {&a, &b};
    cr_assert(lt_metrics_init(&a, rows, ROWS) && lt_metrics_init(&b, rows, ROWS));
    lt_metric_add(&a, OK, 2);
    lt_metric_add(&b, OK, 40);
    lt_metric_add(&b, FAILED, 1);
    lt_metric_add(&a, OPEN, 3);
    lt_metric_add(&b, OPEN, -1); // opened by one worker, closed by another
    char *text = print(all, 2);
    cr_assert(has(text, "t_total{outcome=\"ok\"} 42\n"), "%s", text);
    cr_assert(has(text, "t_total{outcome=\"failed\"} 1\n"), "%s", text);
    cr_assert(has(text, "t_open 2\n"), "%s", text);
    free(text);
    lt_metric_set(&a, OPEN, 7);
    lt_metric_set(&b, OPEN, 0);
    text = print(all, 2);
    cr_assert(has(text, "t_open 7\n"), "%s", text);
    free(text);
    lt_metrics_fini(&a);
    lt_metrics_fini(&b);
}

Test(metric, a_name_is_explained_once) {
    struct lt_metrics m, *const all[] = {&m};
    cr_assert(lt_metrics_init(&m, rows, ROWS));
    char *text = print(all, 1);
    const char *first = strstr(text, "# HELP t_total Requests.\n# TYPE t_total counter\n");
    cr_assert(first && !strstr(first + 1, "# HELP t_total "), "%s", text);
    cr_assert(has(text, "# TYPE t_open gauge\n"));
    cr_assert(has(text, "# TYPE t_seconds histogram\n"));
    free(text);
    lt_metrics_fini(&m);
}

// A bound belongs to its bucket, buckets run up, +Inf is the count, and neighbours in the table are left alone.
Test(metric, histogram) {
    struct lt_metrics m, *const all[] = {&m};
    cr_assert(lt_metrics_init(&m, rows, ROWS));
    lt_metric_observe(&m, SECONDS, 0);
    lt_metric_observe(&m, SECONDS, lt_histogram_bounds[0]);
    lt_metric_observe(&m, SECONDS, lt_histogram_bounds[0] + 1);
    lt_metric_observe(&m, SECONDS, lt_histogram_bounds[LT_HISTOGRAM_BUCKETS - 1]);
    lt_metric_observe(&m, SECONDS, lt_histogram_bounds[LT_HISTOGRAM_BUCKETS - 1] + 1);
    char *text = print(all, 1);
    cr_assert(has(text, "t_seconds_bucket{le=\"0.0001\"} 2\n"), "%s", text);
    cr_assert(has(text, "t_seconds_bucket{le=\"0.00025\"} 3\n"), "%s", text);
    cr_assert(has(text, "t_seconds_bucket{le=\"10\"} 3\n"), "%s", text);
    cr_assert(has(text, "t_seconds_bucket{le=\"60\"} 4\n"), "%s", text);
    cr_assert(has(text, "t_seconds_bucket{le=\"+Inf\"} 5\n"), "%s", text);
    cr_assert(has(text, "t_seconds_sum 120.000202\n"), "%s", text);
    cr_assert(has(text, "t_seconds_count 5\n"), "%s", text);
    cr_assert(has(text, "t_kind_seconds_bucket{kind=\"a\",le=\"+Inf\"} 0\n"), "%s", text);
    cr_assert(has(text, "t_kind_seconds_count{kind=\"a\"} 0\n"), "%s", text);
    cr_assert(has(text, "t_open 0\n"), "%s", text);
    free(text);
    lt_metrics_fini(&m);
}

Test(metric, bounds_run_up) {
    for (unsigned i = 1; i < LT_HISTOGRAM_BUCKETS; i++)
        cr_assert_gt(lt_histogram_bounds[i], lt_histogram_bounds[i - 1]);
}

Test(metric, a_full_buffer_is_told) {
    struct lt_metrics m, *const all[] = {&m};
    struct lt_buf out;
    cr_assert(lt_metrics_init(&m, rows, ROWS));
    lt_buf_init(&out, 200);
    cr_assert_not(lt_metrics_print(&out, all, 1));
    lt_buf_fini(&out);
    lt_metrics_fini(&m);
}
