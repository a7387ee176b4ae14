// SPDX-License-Identifier: Apache-2.0
// What the checks of a store stand on: two stores (as two replicas have them) on one loop, operations that are waited for, time.
#pragma once

#include "store/store.h"

enum { BENCH_STORES = 2, BENCH_TIMEOUT_MS = 900, HOUR_MS = 3600 * 1000 };

struct bench {
    struct lt_loop loop;
    struct lt_metrics metrics;
    struct lt_store *stores[BENCH_STORES];
    size_t large, too_large; // bytes of data: what the store can; what it cannot (0: not known)
    unsigned failures;
    const char *check; // the one that runs
};

extern struct bench bench;

// A failed expectation is told and counted; the check goes on.
#define EXPECT(truth)                                                                                                  \
    do {                                                                                                               \
        if (!(truth))                                                                                                  \
            bench_failed(__FILE__, __LINE__, #truth, "");                                                              \
    } while (0)
#define EXPECT_RESULT(got, wanted) bench_expect_result(__FILE__, __LINE__, #got, got, wanted)

void bench_failed(const char *file, int line, const char *what, const char *more);
void bench_expect_result(const char *file, int line, const char *what, enum lt_store_result got,
                         enum lt_store_result wanted);

// False: no memory, or the store's URL is none.
bool bench_init(const char *url, int64_t timeout);
void bench_fini(void);

// An operation with hour-long times, no lease, and `hash` for its session.
struct lt_store_op *bench_op(enum lt_store_kind kind, const char *hash);

// Runs it by itself; the result. The op stays.
enum lt_store_result bench_run(struct lt_store_op *op);

// The same, by the second store; and the op is freed.
enum lt_store_result bench_once(struct lt_store_op *op);

// The shapes that checks need most. `data` "" leaves it empty.
struct lt_store_op *bench_write(enum lt_store_kind kind, const char *hash, const char *data);
struct lt_store_op *bench_owned(enum lt_store_kind kind, const char *hash, const char *owner, int64_t lease);

// LOAD without a lease. `text`: what must be there; NULL: whatever.
enum lt_store_result bench_look(const char *hash, const char *text, uint64_t *number);

// LOAD without sliding anything (a ttl of 1 ms), until its result is `wanted`; ms that it took, or -1 after `seconds`.
int64_t bench_until(const char *hash, enum lt_store_result wanted, int seconds);

// Lets the loop turn for so long.
void bench_pass(int64_t ms);

// Runs the loop until `*left` is 0. False: not within `seconds`.
bool bench_wait(const unsigned *left, int seconds);

// A name that no other check has.
const char *bench_name(const char *what, char out[LT_TOKEN_HASH_TEXT + 1]);

struct check {
    const char *name;
    void (*run)(void);
    bool slow; // waits for seconds: for something to end
};
extern const struct check record_checks[], lock_checks[], parallel_checks[]; // end with a NULL name
