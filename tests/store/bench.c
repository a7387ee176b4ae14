// SPDX-License-Identifier: Apache-2.0
#include "bench.h"

#include "base/clock.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

struct bench bench;

static const struct lt_metric rows[] = {
    {"seconds", "", LT_HISTOGRAM, NULL},
    {"breaker", "", LT_GAUGE, NULL},
    LT_STORE_EVENT_ROWS("events"),
};

void bench_failed(const char *file, int line, const char *what, const char *more) {
    bench.failures++;
    printf("%s:%d: %s: %s%s\n", file, line, bench.check ? bench.check : "", what, more);
}

void bench_expect_result(const char *file, int line, const char *what, enum lt_store_result got,
                         enum lt_store_result wanted) {
    static const char *const names[] = {"OK", "MISS", "ENDED", "BUSY", "FENCED", "DOWN"};
    char more[64];
    snprintf(more, sizeof more, " is %s, not %s", names[got], names[wanted]);
    if (got != wanted)
        bench_failed(file, line, what, more);
}

bool bench_init(const char *url, int64_t timeout) {
    static char prefix[24];
    const char *wrong = lt_store_check(lt_span_cstr(url));
    snprintf(prefix, sizeof prefix, "check%d-%x", (int)getpid(), (unsigned)lt_clock_wall());
    if (wrong) {
        printf("store: %s\n", wrong);
        return false;
    }
    if (lt_loop_init(&bench.loop) != LT_OK || !lt_metrics_init(&bench.metrics, rows, sizeof rows / sizeof *rows))
        return false;
    for (unsigned i = 0; i < BENCH_STORES; i++) {
        bench.stores[i] = lt_store_new(&(struct lt_store_options){
            .loop = &bench.loop,
            .url = lt_span_cstr(url),
            .prefix = lt_span_cstr(prefix),
            .timeout = timeout,
            .metrics = &bench.metrics,
            .seconds_row = 0,
            .breaker_row = 1,
            .events_row = 2,
        });
        if (!bench.stores[i])
            return false;
    }
    return true;
}

void bench_fini(void) {
    for (unsigned i = 0; i < BENCH_STORES; i++)
        lt_store_free(bench.stores[i]);
    lt_loop_settle(&bench.loop);
    lt_loop_fini(&bench.loop);
    lt_metrics_fini(&bench.metrics);
}

struct lt_store_op *bench_op(enum lt_store_kind kind, const char *hash) {
    struct lt_store_op *op = lt_store_op_new(kind);
    if (!op)
        abort();
    snprintf(op->hash, sizeof op->hash, "%s", hash);
    op->ttl = HOUR_MS;
    op->expires = lt_clock_wall() + 12 * HOUR_MS;
    return op;
}

static void on_done(struct lt_store_op *op) {
    unsigned *left = op->user;
    --*left;
    lt_loop_stop(&bench.loop);
}

static enum lt_store_result run_at(struct lt_store *store, struct lt_store_op *op) {
    unsigned left = 1;
    op->done = on_done;
    op->user = &left;
    lt_store_submit(store, op);
    if (left == 0)
        bench_failed(__FILE__, __LINE__, "completed from inside lt_store_submit()", "");
    while (left) {
        bench.loop.stopped = false;
        lt_loop_run(&bench.loop);
    }
    return op->result;
}

enum lt_store_result bench_run(struct lt_store_op *op) {
    return run_at(bench.stores[0], op);
}

enum lt_store_result bench_once(struct lt_store_op *op) {
    enum lt_store_result result = run_at(bench.stores[1], op);
    lt_store_op_free(op);
    return result;
}

struct lt_store_op *bench_write(enum lt_store_kind kind, const char *hash, const char *data) {
    struct lt_store_op *op = bench_op(kind, hash);
    if (!lt_buf_append(&op->data, lt_span_cstr(data)))
        abort();
    return op;
}

struct lt_store_op *bench_owned(enum lt_store_kind kind, const char *hash, const char *owner, int64_t lease) {
    struct lt_store_op *op = bench_op(kind, hash);
    snprintf(op->owner, sizeof op->owner, "%s", owner);
    op->lease = lease;
    return op;
}

static enum lt_store_result look(const char *hash, int64_t ttl, const char *text, uint64_t *number) {
    struct lt_store_op *op = bench_op(LT_STORE_LOAD, hash);
    op->ttl = ttl;
    enum lt_store_result result = bench_run(op);
    if (number)
        *number = op->fence;
    if (result == LT_STORE_OK && text)
        EXPECT(lt_span_eq(lt_buf_span(&op->data), lt_span_cstr(text)));
    lt_store_op_free(op);
    return result;
}

enum lt_store_result bench_look(const char *hash, const char *text, uint64_t *number) {
    return look(hash, HOUR_MS, text, number);
}

int64_t bench_until(const char *hash, enum lt_store_result wanted, int seconds) {
    int64_t began = lt_clock_mono();
    while (look(hash, 1, NULL, NULL) != wanted) {
        if (lt_clock_mono() - began > seconds * 1000)
            return -1;
        bench_pass(20);
    }
    return lt_clock_mono() - began;
}

static void on_passed(struct lt_timer *t) {
    (void)t;
    lt_loop_stop(&bench.loop);
}

void bench_pass(int64_t ms) {
    struct lt_timer timer;
    lt_timer_init(&timer, on_passed);
    lt_timer_set(&bench.loop, &timer, ms);
    while (lt_timer_is_set(&timer)) {
        bench.loop.stopped = false;
        lt_loop_run(&bench.loop);
    }
}

bool bench_wait(const unsigned *left, int seconds) {
    int64_t end = lt_clock_mono() + seconds * 1000;
    while (*left && lt_clock_mono() < end)
        bench_pass(20);
    return *left == 0;
}

const char *bench_name(const char *what, char out[LT_TOKEN_HASH_TEXT + 1]) {
    static unsigned n;
    snprintf(out, LT_TOKEN_HASH_TEXT + 1, "%s-%u", what, n++);
    return out;
}
