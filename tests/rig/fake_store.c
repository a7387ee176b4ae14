// SPDX-License-Identifier: Apache-2.0
#include "tests/rig/fake_store.h"

#include "net/redis_url.h"
#include "store/driver.h"

#include <stdio.h>
#include <stdlib.h>

enum { RECORDS = 8 };

struct record {
    char hash[LT_TOKEN_HASH_TEXT + 1], owner[33];
    char data[8192];
    size_t n; // 0: a tombstone
    uint64_t fence;
    int64_t expires;
};

static struct record records[RECORDS];
static unsigned n_records;
static char text[1024];
static int forced[LT_STORE_KINDS]; // a result + 1; 0: none
static struct lt_list waiting = {&waiting, &waiting};
static bool holding;
static struct lt_loop *the_loop;

// What waits for its end; found again by the op.
struct pending {
    struct lt_list node;
    struct lt_task task;
    struct lt_store_op *op;
};

void fake_store_reset(void) {
    n_records = 0;
    text[0] = '\0';
    holding = false;
    for (unsigned i = 0; i < LT_STORE_KINDS; i++)
        forced[i] = 0;
}

const char *fake_store_log(void) {
    static char copy[sizeof text];
    memcpy(copy, text, sizeof text);
    text[0] = '\0';
    return copy;
}

void fake_store_next(enum lt_store_kind kind, enum lt_store_result result) {
    forced[kind] = (int)result + 1;
}

void fake_store_steal(void) {
    records[0].fence++;
    strcpy(records[0].owner, "somebody");
}

void fake_store_touch(void) {
    records[0].fence++;
}

unsigned fake_store_alive(void) {
    unsigned n = 0;
    for (unsigned i = 0; i < n_records; i++)
        n += records[i].n > 0;
    return n;
}

static struct record *find(const char *hash) {
    for (unsigned i = 0; i < n_records; i++)
        if (strcmp(records[i].hash, hash) == 0)
            return &records[i];
    return NULL;
}

static void put(struct record *r, const struct lt_store_op *op) {
    r->n = op->data.len;
    r->expires = op->expires;
    if (r->n)
        memcpy(r->data, op->data.p + op->data.off, op->data.len);
}

static void unlock(struct record *r, const struct lt_store_op *op) {
    if (strcmp(r->owner, op->owner) == 0)
        r->owner[0] = '\0';
}

static enum lt_store_result load(struct record *r, struct lt_store_op *op) {
    if (r->n == 0)
        return LT_STORE_ENDED;
    if (op->lease && r->owner[0] && strcmp(r->owner, op->owner) != 0)
        return LT_STORE_BUSY;
    if (op->lease) {
        strcpy(r->owner, op->owner);
        r->fence++;
    }
    op->fence = r->fence;
    return lt_buf_append(&op->data, lt_span(r->data, r->n)) ? LT_STORE_OK : LT_STORE_DOWN;
}

static enum lt_store_result save(struct record *r, struct lt_store_op *op) {
    if (r->n == 0)
        return LT_STORE_ENDED;
    if (op->lease ? r->fence > op->fence : r->fence != op->fence)
        return LT_STORE_FENCED;
    put(r, op);
    r->fence += op->lease ? 0 : 1;
    if (op->release)
        unlock(r, op);
    return LT_STORE_OK;
}

static enum lt_store_result create(struct lt_store_op *op) {
    struct record *r = &records[n_records++];
    *r = (struct record){.fence = 1};
    strcpy(r->hash, op->hash);
    put(r, op);
    strcpy(r->owner, op->lease ? op->owner : "");
    op->fence = 1;
    return LT_STORE_OK;
}

static struct record *make(const struct lt_store_op *op) {
    struct record *r = n_records < RECORDS ? &records[n_records++] : NULL;
    if (r) {
        *r = (struct record){.fence = 0};
        strcpy(r->hash, op->hash);
    }
    return r;
}

static enum lt_store_result put_over(struct record *r, struct lt_store_op *op) {
    bool there = r && (r->n || r->fence);
    if (there && r->n == 0)
        return LT_STORE_ENDED;
    if (op->owner[0] && (!r || strcmp(r->owner, op->owner) != 0))
        return LT_STORE_BUSY;
    if ((op->condition == LT_STORE_IF_ABSENT && there) ||
        (op->condition == LT_STORE_IF_VERSION && (!there || r->fence != op->fence)))
        return LT_STORE_FENCED;
    r = r ? r : make(op);
    put(r, op);
    op->fence = ++r->fence;
    return LT_STORE_OK;
}

// A record that is nothing but its lock has no fence.
static enum lt_store_result lock(struct record *r, const struct lt_store_op *op) {
    r = r ? r : make(op);
    if (r->owner[0] && strcmp(r->owner, op->owner) != 0)
        return LT_STORE_BUSY;
    strcpy(r->owner, op->owner);
    return LT_STORE_OK;
}

static enum lt_store_result run(struct lt_store_op *op) {
    struct record *r = find(op->hash);
    if (op->kind == LT_STORE_PUT)
        return put_over(r, op);
    if (op->kind == LT_STORE_LOCK)
        return lock(r, op);
    if (r && r->n == 0 && r->fence == 0 && op->kind != LT_STORE_RELEASE && op->kind != LT_STORE_END)
        return LT_STORE_MISS;
    if (op->kind == LT_STORE_CREATE && n_records < RECORDS)
        return create(op);
    if (!r && op->kind == LT_STORE_END)
        r = make(op);
    if (!r)
        return op->kind == LT_STORE_RELEASE || op->kind == LT_STORE_EXPIRE ? LT_STORE_OK : LT_STORE_MISS;
    switch (op->kind) {
    case LT_STORE_LOAD:
        return load(r, op);
    case LT_STORE_SAVE:
        return save(r, op);
    case LT_STORE_END:
        r->n = 0;
        r->fence = r->fence ? r->fence : 1;
        unlock(r, op);
        return LT_STORE_OK;
    case LT_STORE_EXPIRE:
        r->expires = op->expires < r->expires ? op->expires : r->expires;
        return r->n ? LT_STORE_OK : LT_STORE_ENDED;
    case LT_STORE_TOUCH:
        return r->n ? LT_STORE_OK : LT_STORE_ENDED;
    case LT_STORE_RENEW:
        return strcmp(r->owner, op->owner) == 0 ? LT_STORE_OK : LT_STORE_MISS;
    default:
        unlock(r, op);
        return LT_STORE_OK;
    }
}

static void finish(struct lt_task *t) {
    static const char *const words[LT_STORE_KINDS] = {
        [LT_STORE_LOAD] = "load",       [LT_STORE_CREATE] = "create", [LT_STORE_SAVE] = "save",
        [LT_STORE_PUT] = "put",         [LT_STORE_TOUCH] = "touch",   [LT_STORE_END] = "end",
        [LT_STORE_EXPIRE] = "expire",   [LT_STORE_LOCK] = "lock",     [LT_STORE_RENEW] = "renew",
        [LT_STORE_RELEASE] = "release",
    };
    struct pending *p = LT_ENTRY(t, struct pending, task);
    struct lt_store_op *op = p->op;
    free(p);
    op->result = forced[op->kind] ? (enum lt_store_result)(forced[op->kind] - 1) : run(op);
    forced[op->kind] = 0;
    snprintf(text + strlen(text), sizeof text - strlen(text), "%s%s%s", *text ? " " : "", words[op->kind],
             op->result == LT_STORE_OK ? "" : "!");
    lt_store_finish(op);
}

void fake_store_hold(bool hold) {
    holding = hold;
    while (!hold && !lt_list_empty(&waiting)) {
        struct pending *p = LT_ENTRY(waiting.next, struct pending, node);
        lt_list_remove(&p->node);
        lt_loop_defer(the_loop, &p->task);
    }
}

static void submit(struct lt_store *s, struct lt_store_op *op) {
    struct pending *p = calloc(1, sizeof *p);
    the_loop = s->loop;
    p->op = op;
    lt_task_init(&p->task, finish);
    lt_list_init(&p->node);
    if (holding)
        lt_list_append(&waiting, &p->node);
    else
        lt_loop_defer(s->loop, &p->task);
}

static const char *check(struct lt_span url) {
    struct lt_arena arena;
    struct lt_redis_place ignored;
    const char *error = NULL;
    lt_arena_init(&arena, 16384);
    bool ok = lt_redis_url(url, &arena, &ignored, &error);
    lt_arena_fini(&arena);
    return ok ? NULL : error;
}

static struct lt_store *open_store(const struct lt_store_options *o) {
    (void)o;
    return calloc(1, sizeof(struct lt_store));
}

static void close_store(struct lt_store *s) {
    free(s);
}

static bool breaker_is_open(const struct lt_store *s) {
    (void)s;
    return false;
}

const struct lt_store_driver lt_store_redis = {
    .scheme = "redis",
    .check = check,
    .open = open_store,
    .close = close_store,
    .submit = submit,
    .breaker_is_open = breaker_is_open,
};
