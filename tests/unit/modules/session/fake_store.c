// SPDX-License-Identifier: Apache-2.0
#include "tests/unit/modules/session/fake_store.h"

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

struct store {
    struct lt_loop *loop;
};

static struct record records[RECORDS];
static unsigned n_records;
static char text[1024];
static int forced[STORE_KINDS] = {-1, -1, -1, -1, -1, -1, -1};
static struct lt_list waiting = {&waiting, &waiting};
static bool holding;
static struct lt_loop *the_loop;

// What waits for its end; found again by the op.
struct pending {
    struct lt_list node;
    struct lt_task task;
    struct store_op *op;
};

void fake_store_reset(void) {
    n_records = 0;
    text[0] = '\0';
    holding = false;
    for (unsigned i = 0; i < STORE_KINDS; i++)
        forced[i] = -1;
}

const char *fake_store_log(void) {
    static char copy[sizeof text];
    memcpy(copy, text, sizeof text);
    text[0] = '\0';
    return copy;
}

void fake_store_next(enum store_kind kind, enum store_result result) {
    forced[kind] = (int)result;
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

static void put(struct record *r, const struct store_op *op) {
    r->n = op->data.len;
    r->expires = op->expires;
    memcpy(r->data, op->data.p + op->data.off, op->data.len);
}

static void unlock(struct record *r, const struct store_op *op) {
    if (strcmp(r->owner, op->owner) == 0)
        r->owner[0] = '\0';
}

static enum store_result load(struct record *r, struct store_op *op) {
    if (r->n == 0)
        return STORE_ENDED;
    if (op->lease && r->owner[0] && strcmp(r->owner, op->owner) != 0)
        return STORE_BUSY;
    if (op->lease) {
        strcpy(r->owner, op->owner);
        r->fence++;
    }
    op->fence = r->fence;
    return lt_buf_append(&op->data, lt_span(r->data, r->n)) ? STORE_OK : STORE_DOWN;
}

static enum store_result save(struct record *r, struct store_op *op) {
    if (r->n == 0)
        return STORE_ENDED;
    if (op->lease ? r->fence > op->fence : r->fence != op->fence)
        return STORE_FENCED;
    put(r, op);
    r->fence += op->lease ? 0 : 1;
    if (op->release)
        unlock(r, op);
    return STORE_OK;
}

static enum store_result run(struct store_op *op) {
    struct record *r = find(op->hash);
    if (op->kind == STORE_CREATE && n_records < RECORDS) {
        r = &records[n_records++];
        *r = (struct record){.fence = 1};
        strcpy(r->hash, op->hash);
        put(r, op);
        strcpy(r->owner, op->lease ? op->owner : "");
        op->fence = 1;
        return STORE_OK;
    }
    if (!r)
        return op->kind == STORE_RELEASE || op->kind == STORE_EXPIRE ? STORE_OK : STORE_MISS;
    switch (op->kind) {
    case STORE_LOAD:
        return load(r, op);
    case STORE_SAVE:
        return save(r, op);
    case STORE_END:
        r->n = 0;
        unlock(r, op);
        return STORE_OK;
    case STORE_EXPIRE:
        r->expires = op->expires < r->expires ? op->expires : r->expires;
        return r->n ? STORE_OK : STORE_ENDED;
    case STORE_RENEW:
        return strcmp(r->owner, op->owner) == 0 ? STORE_OK : STORE_MISS;
    default:
        unlock(r, op);
        return STORE_OK;
    }
}

static void finish(struct lt_task *t) {
    static const char *const words[] = {"load", "create", "save", "end", "expire", "renew", "release"};
    struct pending *p = LT_ENTRY(t, struct pending, task);
    struct store_op *op = p->op;
    free(p);
    op->result = forced[op->kind] >= 0 ? (enum store_result)forced[op->kind] : run(op);
    forced[op->kind] = -1;
    snprintf(text + strlen(text), sizeof text - strlen(text), "%s%s%s", *text ? " " : "", words[op->kind],
             op->result == STORE_OK ? "" : "!");
    op->done(op);
}

void fake_store_hold(bool hold) {
    holding = hold;
    while (!hold && !lt_list_empty(&waiting)) {
        struct pending *p = LT_ENTRY(waiting.next, struct pending, node);
        lt_list_remove(&p->node);
        lt_loop_defer(the_loop, &p->task);
    }
}

void store_submit(struct store *s, struct store_op *op) {
    struct pending *p = calloc(1, sizeof *p);
    op->store = s;
    p->op = op;
    lt_task_init(&p->task, finish);
    lt_list_init(&p->node);
    if (holding)
        lt_list_append(&waiting, &p->node);
    else
        lt_loop_defer(s->loop, &p->task);
}

struct store_op *store_op_new(enum store_kind kind) {
    struct store_op *op = calloc(1, sizeof *op);
    op->kind = kind;
    lt_buf_init(&op->data, STORE_DATA_MAX);
    return op;
}

void store_op_free(struct store_op *op) {
    if (!op)
        return;
    lt_buf_fini(&op->data);
    free(op);
}

struct store *store_redis_new(const struct lt_services *services, struct lt_span url, int64_t timeout,
                              struct lt_span prefix, unsigned seconds_row, unsigned breaker_row) {
    (void)url, (void)timeout, (void)prefix, (void)seconds_row, (void)breaker_row;
    struct store *s = calloc(1, sizeof *s);
    s->loop = the_loop = services->loop;
    return s;
}

void store_free(struct store *s) {
    free(s);
}
