// SPDX-License-Identifier: Apache-2.0
// All at once, over two connections: one holder at a time, no update lost, whoever was refused tries again.
#include "bench.h"

#include "base/clock.h"

#include <stdio.h>
#include <stdlib.h>

enum { ACTORS = 12, ROUNDS = 8, LEASE = 10000 };

// One of many that count a session's number up: with a lock, by versions, or by conditional PUTs.
struct actor {
    struct lt_store_op *op;
    struct lt_store *store;
    struct lt_timer again, work;
    enum lt_store_kind write; // SAVE or PUT
    int64_t lease;
    unsigned left;
    unsigned *working, *holders, *conflicts;
};

static void load(struct actor *a) {
    a->op->kind = LT_STORE_LOAD;
    a->op->lease = a->lease;
    lt_store_submit(a->store, a->op);
}

static void on_again(struct lt_timer *t) {
    load(LT_ENTRY(t, struct actor, again));
}

static void rest(struct actor *a) {
    ++*a->conflicts;
    lt_timer_set(&bench.loop, &a->again, 1 + rand() % 15);
}

static void write_more(struct lt_timer *t) {
    struct actor *a = LT_ENTRY(t, struct actor, work);
    char text[32] = "";
    struct lt_span data = lt_buf_span(&a->op->data);
    memcpy(text, data.p, data.n < sizeof text ? data.n : 0);
    int n = snprintf(text, sizeof text, "%d", atoi(text) + 1);
    lt_buf_consume(&a->op->data, data.n);
    if (!lt_buf_append(&a->op->data, lt_span(text, (size_t)n)))
        abort();
    a->op->kind = a->write;
    a->op->release = true;
    a->op->condition = LT_STORE_IF_VERSION;
    if (a->lease)
        --*a->holders; // not behind the answer: the next one may hear of the lock before us
    lt_store_submit(a->store, a->op);
}

// It works for a while, alone if it has the lock.
static void work(struct actor *a) {
    if (a->lease && ++*a->holders > 1)
        bench_failed(__FILE__, __LINE__, "two hold the lock", "");
    lt_timer_set(&bench.loop, &a->work, 1 + rand() % 10);
}

static void on_done(struct lt_store_op *op) {
    struct actor *a = op->user;
    bool read = op->kind == LT_STORE_LOAD;
    if (op->result == LT_STORE_BUSY || op->result == LT_STORE_FENCED) {
        if (a->lease && !read)
            bench_failed(__FILE__, __LINE__, "a holder's write was refused", "");
        rest(a);
    } else if (op->result != LT_STORE_OK) {
        EXPECT_RESULT(op->result, LT_STORE_OK);
        --*a->working;
    } else if (read) {
        work(a);
    } else if (--a->left) {
        load(a);
    } else {
        --*a->working;
    }
}

static void count_up(const char *name, enum lt_store_kind write, int64_t lease) {
    struct actor actors[ACTORS];
    char h[LT_TOKEN_HASH_TEXT + 1], wanted[16];
    unsigned working = ACTORS, holders = 0, conflicts = 0;
    EXPECT_RESULT(bench_once(bench_write(LT_STORE_CREATE, bench_name(name, h), "0")), LT_STORE_OK);
    for (unsigned i = 0; i < ACTORS; i++) {
        struct actor *a = &actors[i];
        *a = (struct actor){.write = write, .lease = lease, .left = ROUNDS, .store = bench.stores[i % BENCH_STORES]};
        a->working = &working;
        a->holders = &holders;
        a->conflicts = &conflicts;
        a->op = bench_op(LT_STORE_LOAD, h);
        if (write == LT_STORE_SAVE)
            snprintf(a->op->owner, sizeof a->op->owner, "actor%u", i);
        a->op->done = on_done;
        a->op->user = a;
        lt_timer_init(&a->again, on_again);
        lt_timer_init(&a->work, write_more);
        load(a);
    }
    EXPECT(bench_wait(&working, 60));
    EXPECT(conflicts > 0);
    snprintf(wanted, sizeof wanted, "%d", ACTORS * ROUNDS);
    EXPECT_RESULT(bench_look(h, wanted, NULL), LT_STORE_OK);
    for (unsigned i = 0; i < ACTORS; i++)
        lt_store_op_free(actors[i].op);
}

static void check_counting_with_the_lock(void) {
    count_up("count-lock", LT_STORE_SAVE, LEASE);
}

static void check_counting_by_versions(void) {
    count_up("count-version", LT_STORE_SAVE, 0);
}

static void check_counting_by_puts(void) {
    count_up("count-put", LT_STORE_PUT, 0);
}

// --- one of many ---

struct race {
    unsigned left, results[LT_STORE_DOWN + 1];
};

static void on_raced(struct lt_store_op *op) {
    struct race *r = op->user;
    r->results[op->result]++;
    r->left--;
}

static struct race race(enum lt_store_kind kind, const char *hash) {
    struct lt_store_op *ops[ACTORS];
    struct race r = {.left = ACTORS};
    for (unsigned i = 0; i < ACTORS; i++) {
        ops[i] = bench_write(kind, hash, kind == LT_STORE_PUT ? "x" : "");
        if (kind != LT_STORE_PUT)
            snprintf(ops[i]->owner, sizeof ops[i]->owner, "racer%u", i);
        ops[i]->lease = LEASE;
        ops[i]->condition = LT_STORE_IF_ABSENT;
        ops[i]->done = on_raced;
        ops[i]->user = &r;
        lt_store_submit(bench.stores[i % BENCH_STORES], ops[i]);
    }
    EXPECT(bench_wait(&r.left, 20));
    for (unsigned i = 0; i < ACTORS; i++)
        lt_store_op_free(ops[i]);
    return r;
}

static void check_one_wins(void) {
    char h[LT_TOKEN_HASH_TEXT + 1];
    for (int i = 0; i < 10; i++) {
        struct race r = race(LT_STORE_LOCK, bench_name("race-lock", h));
        EXPECT(r.results[LT_STORE_OK] == 1 && r.results[LT_STORE_BUSY] == ACTORS - 1);
        r = race(LT_STORE_PUT, bench_name("race-put", h));
        EXPECT(r.results[LT_STORE_OK] == 1 && r.results[LT_STORE_FENCED] == ACTORS - 1);
        r = race(LT_STORE_LOAD, h);
        EXPECT(r.results[LT_STORE_OK] == 1 && r.results[LT_STORE_BUSY] == ACTORS - 1);
        r = race(LT_STORE_END, h);
        EXPECT(r.results[LT_STORE_OK] == ACTORS);
    }
}

// --- a lock that its holder gave up waiting for ---

static void on_gone(void *user) {
    --*(unsigned *)user;
}

static void check_orphan_gives_back(void) {
    char h[LT_TOKEN_HASH_TEXT + 1];
    unsigned left = 1;
    EXPECT_RESULT(bench_once(bench_write(LT_STORE_CREATE, bench_name("orphan", h), "x")), LT_STORE_OK);
    struct lt_store_op *op = bench_owned(LT_STORE_LOAD, h, "gone", LEASE);
    lt_store_submit(bench.stores[0], op);
    lt_store_orphan(op, on_gone, &left);
    EXPECT(bench_wait(&left, 5));
    EXPECT_RESULT(bench_once(bench_owned(LT_STORE_LOAD, h, "next", LEASE)), LT_STORE_OK);
}

const struct check parallel_checks[] = {
    {"counting with the lock", check_counting_with_the_lock, false},
    {"counting by versions", check_counting_by_versions, false},
    {"counting by puts", check_counting_by_puts, false},
    {"one wins", check_one_wins, false},
    {"an orphan gives back", check_orphan_gives_back, false},
    {NULL, NULL, false},
};
