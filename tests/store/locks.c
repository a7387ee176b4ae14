// SPDX-License-Identifier: Apache-2.0
// Locks and fences, one after the other.
#include "bench.h"

#include "base/clock.h"

enum { LEASE = 5000, SHORT_LEASE = 400, TAKEN_OVER_S = 8 };

static enum lt_store_result owned(enum lt_store_kind kind, const char *hash, const char *owner) {
    return bench_once(bench_owned(kind, hash, owner, LEASE));
}

static uint64_t load(const char *hash, const char *owner, int64_t lease, enum lt_store_result wanted) {
    struct lt_store_op *op = bench_owned(LT_STORE_LOAD, hash, owner, lease);
    EXPECT_RESULT(bench_run(op), wanted);
    uint64_t fence = op->fence;
    lt_store_op_free(op);
    return fence;
}

static enum lt_store_result save(const char *hash, const char *owner, uint64_t fence, bool release, const char *data) {
    struct lt_store_op *op = bench_owned(LT_STORE_SAVE, hash, owner, LEASE);
    op->fence = fence;
    op->release = release;
    if (!lt_buf_append(&op->data, lt_span_cstr(data)))
        return LT_STORE_DOWN;
    return bench_once(op);
}

static enum lt_store_result put(const char *hash, const char *owner) {
    struct lt_store_op *op = bench_write(LT_STORE_PUT, hash, "put");
    memcpy(op->owner, owner, strlen(owner));
    return bench_once(op);
}

// Asks until the lock is had; ms, or -1.
static int64_t until_taken(enum lt_store_kind kind, const char *hash, const char *owner) {
    int64_t began = lt_clock_mono();
    while (owned(kind, hash, owner) == LT_STORE_BUSY) {
        if (lt_clock_mono() - began > TAKEN_OVER_S * 1000)
            return -1;
        bench_pass(20);
    }
    return lt_clock_mono() - began;
}

static void check_load_locks(void) {
    char h[LT_TOKEN_HASH_TEXT + 1];
    struct lt_store_op *op = bench_write(LT_STORE_CREATE, bench_name("lock", h), "x");
    memcpy(op->owner, "creator", 8);
    op->lease = LEASE;
    EXPECT_RESULT(bench_once(op), LT_STORE_OK);
    load(h, "a", LEASE, LT_STORE_BUSY);
    EXPECT_RESULT(save(h, "creator", 1, true, "y"), LT_STORE_OK);
    EXPECT(load(h, "a", LEASE, LT_STORE_OK) == 2);
    load(h, "b", LEASE, LT_STORE_BUSY);
    EXPECT_RESULT(owned(LT_STORE_LOCK, h, "b"), LT_STORE_BUSY);
    EXPECT_RESULT(bench_look(h, "y", NULL), LT_STORE_OK); // who does not ask for the lock reads all the same
    EXPECT(load(h, "a", LEASE, LT_STORE_OK) == 3);
    EXPECT_RESULT(owned(LT_STORE_RELEASE, h, "b"), LT_STORE_OK);
    load(h, "b", LEASE, LT_STORE_BUSY);
    EXPECT_RESULT(save(h, "a", 3, false, "z"), LT_STORE_OK);
    load(h, "b", LEASE, LT_STORE_BUSY);
    EXPECT_RESULT(owned(LT_STORE_RELEASE, h, "a"), LT_STORE_OK);
    EXPECT(load(h, "b", LEASE, LT_STORE_OK) == 4);
    EXPECT_RESULT(save(h, "a", 3, true, "late"), LT_STORE_FENCED);
    EXPECT_RESULT(bench_look(h, "z", NULL), LT_STORE_OK);
    EXPECT_RESULT(save(h, "b", 4, true, "end"), LT_STORE_OK);
    EXPECT_RESULT(owned(LT_STORE_RELEASE, h, "b"), LT_STORE_OK); // twice is no harm
    EXPECT_RESULT(bench_look(h, "end", NULL), LT_STORE_OK);
}

static void check_miss_takes_no_lock(void) {
    char h[LT_TOKEN_HASH_TEXT + 1];
    bench_name("miss", h);
    load(h, "a", LEASE, LT_STORE_MISS);
    EXPECT_RESULT(owned(LT_STORE_LOCK, h, "b"), LT_STORE_OK);
    load(h, "a", LEASE, LT_STORE_MISS);
}

// The holder stands still for longer than its lease: somebody takes over, and the holder's write comes too late.
static void check_fence(void) {
    char h[LT_TOKEN_HASH_TEXT + 1];
    EXPECT_RESULT(bench_once(bench_write(LT_STORE_CREATE, bench_name("fence", h), "x")), LT_STORE_OK);
    uint64_t old = load(h, "a", SHORT_LEASE, LT_STORE_OK);
    int64_t began = lt_clock_mono();
    load(h, "b", LEASE, LT_STORE_BUSY);
    EXPECT(until_taken(LT_STORE_LOAD, h, "b") >= 0);
    EXPECT(lt_clock_mono() - began >= SHORT_LEASE - 50);
    EXPECT_RESULT(save(h, "a", old, true, "late"), LT_STORE_FENCED);
    load(h, "c", LEASE, LT_STORE_BUSY); // a's release was none
    EXPECT_RESULT(save(h, "b", old + 1, true, "mine"), LT_STORE_OK);
    EXPECT_RESULT(save(h, "a", old, true, "later"), LT_STORE_FENCED);
    EXPECT_RESULT(bench_look(h, "mine", NULL), LT_STORE_OK);
}

// Nobody has taken over: a write behind the end of the lease is none too late.
static void check_late_but_alone(void) {
    char h[LT_TOKEN_HASH_TEXT + 1];
    EXPECT_RESULT(bench_once(bench_write(LT_STORE_CREATE, bench_name("alone", h), "x")), LT_STORE_OK);
    uint64_t fence = load(h, "a", SHORT_LEASE, LT_STORE_OK);
    bench_pass(SHORT_LEASE * 2);
    EXPECT_RESULT(save(h, "a", fence, true, "y"), LT_STORE_OK);
    EXPECT_RESULT(bench_look(h, "y", NULL), LT_STORE_OK);
}

static void check_lock_without_record(void) {
    char h[LT_TOKEN_HASH_TEXT + 1];
    bench_name("lock-only", h);
    EXPECT_RESULT(owned(LT_STORE_LOCK, h, "a"), LT_STORE_OK);
    EXPECT_RESULT(owned(LT_STORE_LOCK, h, "a"), LT_STORE_OK);
    EXPECT_RESULT(owned(LT_STORE_LOCK, h, "b"), LT_STORE_BUSY);
    EXPECT_RESULT(bench_look(h, NULL, NULL), LT_STORE_MISS);
    EXPECT_RESULT(bench_once(bench_op(LT_STORE_TOUCH, h)), LT_STORE_MISS);
    EXPECT_RESULT(put(h, "b"), LT_STORE_BUSY);
    EXPECT_RESULT(put(h, "a"), LT_STORE_OK);
    EXPECT_RESULT(bench_look(h, "put", NULL), LT_STORE_OK);
    EXPECT_RESULT(owned(LT_STORE_LOCK, h, "b"), LT_STORE_BUSY);
    EXPECT_RESULT(owned(LT_STORE_RELEASE, h, "a"), LT_STORE_OK);
    EXPECT_RESULT(put(h, "a"), LT_STORE_BUSY);
    EXPECT_RESULT(owned(LT_STORE_LOCK, h, "b"), LT_STORE_OK);
    EXPECT_RESULT(put(h, "a"), LT_STORE_BUSY);
    EXPECT_RESULT(put(h, "b"), LT_STORE_OK);
}

static void check_put_needs_a_lock_that_runs(void) {
    char h[LT_TOKEN_HASH_TEXT + 1];
    bench_name("put-lock", h);
    EXPECT_RESULT(put(h, "a"), LT_STORE_BUSY);
    EXPECT_RESULT(bench_once(bench_owned(LT_STORE_LOCK, h, "a", SHORT_LEASE)), LT_STORE_OK);
    EXPECT_RESULT(put(h, "a"), LT_STORE_OK);
    for (int64_t began = lt_clock_mono(); put(h, "a") == LT_STORE_OK && lt_clock_mono() - began < TAKEN_OVER_S * 1000;)
        bench_pass(20);
    EXPECT_RESULT(put(h, "a"), LT_STORE_BUSY);
    EXPECT_RESULT(bench_look(h, "put", NULL), LT_STORE_OK);
}

// A lock does not end with the record, nor does RENEW let it.
static void check_renew(void) {
    char h[LT_TOKEN_HASH_TEXT + 1];
    struct lt_store_op *op = bench_write(LT_STORE_CREATE, bench_name("renew", h), "x");
    op->ttl = 700;
    EXPECT_RESULT(bench_once(op), LT_STORE_OK);
    EXPECT_RESULT(bench_once(bench_owned(LT_STORE_LOCK, h, "a", 1500)), LT_STORE_OK);
    EXPECT_RESULT(bench_once(bench_owned(LT_STORE_RENEW, h, "b", 1500)), LT_STORE_MISS);
    for (int64_t began = lt_clock_mono(); lt_clock_mono() - began < 11000; bench_pass(500)) {
        EXPECT_RESULT(bench_once(bench_owned(LT_STORE_RENEW, h, "a", 1500)), LT_STORE_OK);
        EXPECT_RESULT(owned(LT_STORE_LOCK, h, "b"), LT_STORE_BUSY);
    }
    EXPECT_RESULT(bench_look(h, NULL, NULL), LT_STORE_MISS);
    EXPECT(until_taken(LT_STORE_LOCK, h, "b") > 500);
    EXPECT_RESULT(bench_once(bench_owned(LT_STORE_RENEW, h, "a", 1500)), LT_STORE_MISS);
}

// The end of a session is for whoever; it gives back only one's own lock.
static void check_end_and_locks(void) {
    char h[LT_TOKEN_HASH_TEXT + 1], mine[LT_TOKEN_HASH_TEXT + 1];
    EXPECT_RESULT(bench_once(bench_write(LT_STORE_CREATE, bench_name("end-other", h), "x")), LT_STORE_OK);
    uint64_t fence = load(h, "a", LEASE, LT_STORE_OK);
    EXPECT_RESULT(owned(LT_STORE_END, h, "b"), LT_STORE_OK);
    EXPECT_RESULT(owned(LT_STORE_LOCK, h, "b"), LT_STORE_BUSY);
    EXPECT_RESULT(save(h, "a", fence, true, "late"), LT_STORE_ENDED);
    EXPECT_RESULT(bench_once(bench_write(LT_STORE_CREATE, bench_name("end-mine", mine), "x")), LT_STORE_OK);
    load(mine, "a", LEASE, LT_STORE_OK);
    EXPECT_RESULT(owned(LT_STORE_END, mine, "a"), LT_STORE_OK);
    EXPECT_RESULT(owned(LT_STORE_LOCK, mine, "b"), LT_STORE_OK);
    EXPECT_RESULT(bench_look(mine, NULL, NULL), LT_STORE_ENDED);
}

// Owners come from outside: any bytes.
static void check_odd_owners(void) {
    static const char *const owners[] = {"a b", "a\r\nflush_all", "\xff\xfe", "'; --",
                                         "12345678901234567890123456789012"};
    char h[LT_TOKEN_HASH_TEXT + 1];
    EXPECT_RESULT(bench_once(bench_write(LT_STORE_CREATE, bench_name("odd", h), "x")), LT_STORE_OK);
    for (unsigned i = 0; i < sizeof owners / sizeof *owners; i++) {
        uint64_t fence = load(h, owners[i], LEASE, LT_STORE_OK);
        load(h, "other", LEASE, LT_STORE_BUSY);
        EXPECT_RESULT(put(h, owners[i]), LT_STORE_OK);
        EXPECT_RESULT(bench_once(bench_owned(LT_STORE_RENEW, h, owners[i], LEASE)), LT_STORE_OK);
        EXPECT_RESULT(save(h, owners[i], fence + 1, i % 2, "x"), LT_STORE_OK);
        EXPECT_RESULT(owned(LT_STORE_RELEASE, h, owners[i]), LT_STORE_OK);
    }
    EXPECT_RESULT(bench_look(h, "x", NULL), LT_STORE_OK);
}

const struct check lock_checks[] = {
    {"load locks", check_load_locks, false},
    {"a miss takes no lock", check_miss_takes_no_lock, false},
    {"fence", check_fence, true},
    {"late but alone", check_late_but_alone, false},
    {"lock without a record", check_lock_without_record, false},
    {"put needs a lock that runs", check_put_needs_a_lock_that_runs, true},
    {"renew", check_renew, true},
    {"end and locks", check_end_and_locks, false},
    {"odd owners", check_odd_owners, false},
    {NULL, NULL, false},
};
