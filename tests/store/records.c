// SPDX-License-Identifier: Apache-2.0
// Records: what is written, under which condition, and how long it lives.
#include "bench.h"

#include "base/clock.h"

#include <stdlib.h>

static uint64_t put(const char *hash, const char *data, enum lt_store_condition condition, uint64_t number,
                    enum lt_store_result wanted) {
    struct lt_store_op *op = bench_write(LT_STORE_PUT, hash, data);
    op->condition = condition;
    op->fence = number;
    EXPECT_RESULT(bench_run(op), wanted);
    uint64_t now = op->fence;
    lt_store_op_free(op);
    return now;
}

static void fill(struct lt_store_op *op, size_t n) {
    char *at = lt_buf_reserve(&op->data, n);
    if (!at)
        abort();
    for (size_t i = 0; i < n; i++)
        at[i] = (char)(i * 2654435761u >> 13); // NUL, CR LF and all others
    lt_buf_grew(&op->data, n);
}

static bool is_filled(const struct lt_store_op *op, size_t n) {
    struct lt_span data = lt_buf_span(&op->data);
    size_t i = 0;
    while (data.n == n && i < n && data.p[i] == (char)(i * 2654435761u >> 13))
        i++;
    return i == n;
}

static void check_create_and_load(void) {
    char h[LT_TOKEN_HASH_TEXT + 1];
    uint64_t number = 0;
    bench_name("create", h);
    EXPECT_RESULT(bench_look(h, NULL, NULL), LT_STORE_MISS);
    struct lt_store_op *op = bench_write(LT_STORE_CREATE, h, "first");
    EXPECT_RESULT(bench_run(op), LT_STORE_OK);
    EXPECT(op->fence == 1);
    lt_store_op_free(op);
    EXPECT_RESULT(bench_look(h, "first", &number), LT_STORE_OK);
    EXPECT(number == 1);
}

static void check_bytes(size_t n) {
    char h[LT_TOKEN_HASH_TEXT + 1];
    bench_name("bytes", h);
    struct lt_store_op *op = bench_op(LT_STORE_CREATE, h);
    fill(op, n);
    EXPECT_RESULT(bench_run(op), LT_STORE_OK);
    op->kind = LT_STORE_LOAD;
    EXPECT_RESULT(bench_run(op), LT_STORE_OK);
    EXPECT(is_filled(op, n));
    op->kind = LT_STORE_SAVE; // what was read, written back without a lock
    EXPECT_RESULT(bench_run(op), LT_STORE_OK);
    op->kind = LT_STORE_LOAD;
    op->lease = 5000; // takes the lock of a record that is there: the data must survive that
    op->owner[0] = 'x';
    EXPECT_RESULT(bench_run(op), LT_STORE_OK);
    EXPECT(is_filled(op, n));
    EXPECT(op->fence == 3);
    op->kind = LT_STORE_RELEASE;
    EXPECT_RESULT(bench_run(op), LT_STORE_OK);
    op->kind = LT_STORE_LOAD;
    op->lease = 0;
    EXPECT_RESULT(bench_run(op), LT_STORE_OK);
    EXPECT(is_filled(op, n));
    lt_store_op_free(op);
}

static void check_all_bytes(void) {
    check_bytes(1);
    check_bytes(5000);
    check_bytes(70000);
}

static void check_large(void) {
    check_bytes(bench.large);
}

// What does not fit is refused, and what was there before stays.
static void check_too_large(void) {
    char h[LT_TOKEN_HASH_TEXT + 1];
    if (bench.too_large == 0)
        return;
    EXPECT_RESULT(bench_once(bench_write(LT_STORE_CREATE, bench_name("too-large", h), "small")), LT_STORE_OK);
    for (int kind = 0; kind < 2; kind++) {
        struct lt_store_op *op = bench_op(kind ? LT_STORE_PUT : LT_STORE_SAVE, h);
        op->fence = 1;
        fill(op, bench.too_large);
        EXPECT_RESULT(bench_once(op), LT_STORE_DOWN);
        EXPECT_RESULT(bench_look(h, "small", NULL), LT_STORE_OK);
    }
}

static void check_versions(void) {
    char h[LT_TOKEN_HASH_TEXT + 1];
    uint64_t number = 0;
    EXPECT_RESULT(bench_once(bench_write(LT_STORE_CREATE, bench_name("version", h), "a")), LT_STORE_OK);
    struct lt_store_op *first = bench_write(LT_STORE_SAVE, h, "b"), *late = bench_write(LT_STORE_SAVE, h, "c");
    first->fence = late->fence = 1;
    EXPECT_RESULT(bench_once(first), LT_STORE_OK);
    EXPECT_RESULT(bench_once(late), LT_STORE_FENCED);
    EXPECT_RESULT(bench_look(h, "b", &number), LT_STORE_OK);
    EXPECT(number == 2);
}

static void check_put(void) {
    char h[LT_TOKEN_HASH_TEXT + 1];
    uint64_t a, b, c, number = 0;
    bench_name("put", h);
    put(h, "x", LT_STORE_IF_VERSION, 1, LT_STORE_FENCED);
    a = put(h, "one", LT_STORE_IF_ABSENT, 0, LT_STORE_OK);
    put(h, "x", LT_STORE_IF_ABSENT, 0, LT_STORE_FENCED);
    put(h, "x", LT_STORE_IF_VERSION, a + 1, LT_STORE_FENCED);
    put(h, "x", LT_STORE_IF_VERSION, UINT64_MAX, LT_STORE_FENCED);
    b = put(h, "two", LT_STORE_IF_VERSION, a, LT_STORE_OK);
    c = put(h, "three", LT_STORE_ALWAYS, 0, LT_STORE_OK);
    EXPECT(a < b && b < c);
    EXPECT_RESULT(bench_look(h, "three", &number), LT_STORE_OK);
    EXPECT(number == c);
}

// A record that comes anew has a number that the one before never had.
static void check_put_anew(void) {
    char h[LT_TOKEN_HASH_TEXT + 1];
    struct lt_store_op *op = bench_write(LT_STORE_PUT, bench_name("anew", h), "short");
    op->ttl = 200;
    EXPECT_RESULT(bench_run(op), LT_STORE_OK);
    uint64_t before = op->fence;
    lt_store_op_free(op);
    EXPECT(bench_until(h, LT_STORE_MISS, 10) >= 0);
    EXPECT(put(h, "again", LT_STORE_IF_ABSENT, 0, LT_STORE_OK) > before);
}

static void check_put_keeps_the_end(void) {
    char h[LT_TOKEN_HASH_TEXT + 1];
    struct lt_store_op *op = bench_write(LT_STORE_PUT, bench_name("end", h), "one");
    op->expires = lt_clock_wall() + 2000;
    EXPECT_RESULT(bench_once(op), LT_STORE_OK);
    put(h, "two", LT_STORE_ALWAYS, 0, LT_STORE_OK);
    EXPECT(bench_until(h, LT_STORE_MISS, 6) > 1000);
}

static void check_idle(void) {
    char h[LT_TOKEN_HASH_TEXT + 1], other[LT_TOKEN_HASH_TEXT + 1];
    struct lt_store_op *op = bench_write(LT_STORE_CREATE, bench_name("idle", h), "x");
    op->ttl = 1500;
    EXPECT_RESULT(bench_once(op), LT_STORE_OK);
    op = bench_write(LT_STORE_CREATE, bench_name("slides", other), "y");
    op->ttl = 1500;
    EXPECT_RESULT(bench_once(op), LT_STORE_OK);
    op = bench_op(LT_STORE_TOUCH, other);
    op->ttl = 1500;
    for (int64_t began = lt_clock_mono(); lt_clock_mono() - began < 4000; bench_pass(300))
        EXPECT_RESULT(bench_run(op), LT_STORE_OK);
    EXPECT_RESULT(bench_look(h, NULL, NULL), LT_STORE_MISS);
    EXPECT_RESULT(bench_run(op), LT_STORE_OK);
    int64_t lived = bench_until(other, LT_STORE_MISS, 10);
    EXPECT(lived > 1200);
    EXPECT_RESULT(bench_run(op), LT_STORE_MISS);
    lt_store_op_free(op);
}

static void check_load_and_save_slide(void) {
    char h[LT_TOKEN_HASH_TEXT + 1], saved[LT_TOKEN_HASH_TEXT + 1];
    struct lt_store_op *op = bench_write(LT_STORE_CREATE, bench_name("load-slides", h), "x");
    op->ttl = 1500;
    EXPECT_RESULT(bench_once(op), LT_STORE_OK);
    op = bench_write(LT_STORE_CREATE, bench_name("save-slides", saved), "x");
    op->ttl = 1500;
    EXPECT_RESULT(bench_once(op), LT_STORE_OK);
    EXPECT_RESULT(bench_look(h, "x", NULL), LT_STORE_OK);
    op = bench_write(LT_STORE_SAVE, saved, "y");
    op->fence = 1;
    EXPECT_RESULT(bench_once(op), LT_STORE_OK);
    bench_pass(4000);
    EXPECT_RESULT(bench_look(h, "x", NULL), LT_STORE_OK);
    EXPECT_RESULT(bench_look(saved, "y", NULL), LT_STORE_OK);
}

static void check_absolute_end(void) {
    char h[LT_TOKEN_HASH_TEXT + 1];
    struct lt_store_op *op = bench_write(LT_STORE_CREATE, bench_name("absolute", h), "x");
    op->expires = lt_clock_wall() + 1500;
    EXPECT_RESULT(bench_once(op), LT_STORE_OK);
    for (int i = 0; i < 3; i++)
        EXPECT_RESULT(bench_once(bench_op(LT_STORE_TOUCH, h)), LT_STORE_OK);
    EXPECT(bench_until(h, LT_STORE_MISS, 6) > 1000);
}

// An old token's end, brought forward by a rotation: a SAVE of the request that still runs does not move it away.
static void check_save_keeps_the_end(void) {
    char h[LT_TOKEN_HASH_TEXT + 1];
    struct lt_store_op *op = bench_write(LT_STORE_CREATE, bench_name("nearer", h), "x");
    op->expires = lt_clock_wall() + 1500;
    EXPECT_RESULT(bench_once(op), LT_STORE_OK);
    op = bench_write(LT_STORE_SAVE, h, "y");
    op->fence = 1;
    EXPECT_RESULT(bench_once(op), LT_STORE_OK);
    EXPECT_RESULT(bench_look(h, "y", NULL), LT_STORE_OK);
    EXPECT(bench_until(h, LT_STORE_MISS, 6) > 1000);
}

static void check_expire(void) {
    char h[LT_TOKEN_HASH_TEXT + 1];
    struct lt_store_op *op = bench_op(LT_STORE_EXPIRE, bench_name("expire", h));
    EXPECT_RESULT(bench_run(op), LT_STORE_OK); // of none
    EXPECT_RESULT(bench_look(h, NULL, NULL), LT_STORE_MISS);
    EXPECT_RESULT(bench_once(bench_write(LT_STORE_CREATE, h, "x")), LT_STORE_OK);
    op->expires = lt_clock_wall() + 2000;
    EXPECT_RESULT(bench_run(op), LT_STORE_OK);
    EXPECT_RESULT(bench_look(h, "x", NULL), LT_STORE_OK);
    op->expires = lt_clock_wall() + HOUR_MS; // never later
    EXPECT_RESULT(bench_run(op), LT_STORE_OK);
    EXPECT(bench_until(h, LT_STORE_MISS, 6) > 1000);
    lt_store_op_free(op);
}

static void check_tombstone(void) {
    char h[LT_TOKEN_HASH_TEXT + 1];
    EXPECT_RESULT(bench_once(bench_write(LT_STORE_CREATE, bench_name("tombstone", h), "x")), LT_STORE_OK);
    struct lt_store_op *end = bench_op(LT_STORE_END, h), *save = bench_write(LT_STORE_SAVE, h, "late");
    EXPECT_RESULT(bench_run(end), LT_STORE_OK);
    EXPECT_RESULT(bench_look(h, NULL, NULL), LT_STORE_ENDED);
    EXPECT_RESULT(bench_once(bench_owned(LT_STORE_LOAD, h, "somebody", 1000)), LT_STORE_ENDED);
    save->fence = 1;
    EXPECT_RESULT(bench_run(save), LT_STORE_ENDED);
    save->lease = 1000;
    save->fence = 99;
    EXPECT_RESULT(bench_once(save), LT_STORE_ENDED);
    put(h, "late", LT_STORE_ALWAYS, 0, LT_STORE_ENDED);
    put(h, "late", LT_STORE_IF_ABSENT, 0, LT_STORE_ENDED);
    put(h, "late", LT_STORE_IF_VERSION, 1, LT_STORE_ENDED);
    EXPECT_RESULT(bench_once(bench_op(LT_STORE_TOUCH, h)), LT_STORE_ENDED);
    EXPECT_RESULT(bench_once(bench_op(LT_STORE_EXPIRE, h)), LT_STORE_ENDED);
    EXPECT_RESULT(bench_look(h, NULL, NULL), LT_STORE_ENDED);
    EXPECT_RESULT(bench_run(end), LT_STORE_OK); // twice is no harm
    lt_store_op_free(end);
}

// It ends by itself, and may stand where nothing was.
static void check_tombstone_ends(void) {
    char h[LT_TOKEN_HASH_TEXT + 1];
    struct lt_store_op *end = bench_op(LT_STORE_END, bench_name("tombstone-ends", h));
    end->ttl = 1500;
    EXPECT_RESULT(bench_once(end), LT_STORE_OK);
    EXPECT_RESULT(bench_look(h, NULL, NULL), LT_STORE_ENDED);
    EXPECT(bench_until(h, LT_STORE_MISS, 6) > 1000);
    put(h, "new", LT_STORE_IF_ABSENT, 0, LT_STORE_OK);
}

static void check_save_without_record(void) {
    char h[LT_TOKEN_HASH_TEXT + 1];
    struct lt_store_op *op = bench_write(LT_STORE_SAVE, bench_name("save-anew", h), "x");
    op->fence = 7;
    op->lease = 1000;
    EXPECT_RESULT(bench_run(op), LT_STORE_OK);
    EXPECT_RESULT(bench_look(h, "x", NULL), LT_STORE_OK);
    op->expires = lt_clock_wall() - 1; // its time is over
    EXPECT_RESULT(bench_once(op), LT_STORE_OK);
    EXPECT_RESULT(bench_look(h, NULL, NULL), LT_STORE_MISS);
}

const struct check record_checks[] = {
    {"create and load", check_create_and_load, false},
    {"bytes", check_all_bytes, false},
    {"large", check_large, false},
    {"too large", check_too_large, false},
    {"versions", check_versions, false},
    {"put", check_put, false},
    {"put anew", check_put_anew, false},
    {"put keeps the end", check_put_keeps_the_end, true},
    {"idle", check_idle, true},
    {"load and save slide", check_load_and_save_slide, true},
    {"absolute end", check_absolute_end, true},
    {"save keeps the end", check_save_keeps_the_end, true},
    {"expire", check_expire, true},
    {"tombstone", check_tombstone, false},
    {"tombstone ends", check_tombstone_ends, true},
    {"save without a record", check_save_without_record, false},
    {NULL, NULL, false},
};
