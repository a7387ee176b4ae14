// SPDX-License-Identifier: Apache-2.0
#include "inbox.h"

#include <stdlib.h>

enum { KEEP = 64 }; // free blocks that a worker holds on to

void lt_block_pool_init(struct lt_block_pool *p, size_t size) {
    *p = (struct lt_block_pool){.size = size};
}

void lt_block_pool_fini(struct lt_block_pool *p) {
    for (struct lt_block *b = p->free, *next; b; b = next) {
        next = b->next;
        free(b);
    }
    p->free = NULL;
    p->kept = 0;
}

static struct lt_block *take(struct lt_block_pool *p) {
    struct lt_block *b = p->free;
    if (b) {
        p->free = b->next;
        p->kept--;
    } else {
        b = malloc(sizeof *b + p->size);
    }
    if (b)
        p->out++;
    return b;
}

static void give(struct lt_block_pool *p, struct lt_block *b) {
    p->out--;
    if (p->kept >= KEEP) {
        free(b);
        return;
    }
    b->next = p->free;
    p->free = b;
    p->kept++;
}

void lt_inbox_init(struct lt_inbox *in, struct lt_block_pool *pool) {
    *in = (struct lt_inbox){.pool = pool};
}

void lt_inbox_fini(struct lt_inbox *in) {
    if (in->block)
        give(in->pool, in->block);
    in->block = NULL;
    in->floor = in->start = in->end = 0;
}

enum lt_err lt_inbox_read(struct lt_inbox *in, struct lt_stream *s, size_t *got) {
    *got = 0;
    bool fresh = !in->block;
    if (fresh && !(in->block = take(in->pool)))
        return LT_ERR_MEMORY;
    size_t space = in->pool->size - in->end;
    if (space == 0)
        return LT_ERR_LIMIT;
    enum lt_err e = lt_stream_read(s, in->block->data + in->end, space, got);
    in->end += *got;
    if (fresh && *got == 0)
        lt_inbox_fini(in);
    return e;
}

void lt_inbox_consume(struct lt_inbox *in, size_t n) {
    in->start += n;
    if (in->start == in->end)
        in->start = in->end = in->floor;
}

void lt_inbox_pin(struct lt_inbox *in, size_t n) {
    in->start += n;
    in->floor = in->start;
}

void lt_inbox_release(struct lt_inbox *in) {
    size_t left = in->end - in->start;
    if (left == 0) {
        lt_inbox_fini(in);
        return;
    }
    if (in->start)
        memmove(in->block->data, in->block->data + in->start, left);
    in->floor = in->start = 0;
    in->end = left;
}

void lt_inbox_compact(struct lt_inbox *in) {
    size_t left = in->end - in->start;
    if (in->start == in->floor || left == 0)
        return;
    memmove(in->block->data + in->floor, in->block->data + in->start, left);
    in->start = in->floor;
    in->end = in->floor + left;
}
