// SPDX-License-Identifier: Apache-2.0
#include "inbox.h"

static char *data_of(struct lt_inbox *in) {
    return (char *)in->block->data;
}

void lt_inbox_init(struct lt_inbox *in, struct lt_block_pool *pool) {
    *in = (struct lt_inbox){.pool = pool};
}

void lt_inbox_fini(struct lt_inbox *in) {
    if (in->block)
        lt_block_give(in->pool, in->block);
    in->block = NULL;
    in->floor = in->start = in->end = 0;
}

enum lt_err lt_inbox_read(struct lt_inbox *in, struct lt_stream *s, size_t *got) {
    *got = 0;
    bool fresh = !in->block;
    if (fresh && !(in->block = lt_block_take(in->pool)))
        return LT_ERR_MEMORY;
    size_t space = in->pool->size - in->end;
    if (space == 0)
        return LT_ERR_LIMIT;
    enum lt_err e = lt_stream_read(s, data_of(in) + in->end, space, got);
    in->end += (unsigned)*got;
    if (fresh && *got == 0)
        lt_inbox_fini(in);
    return e;
}

void lt_inbox_consume(struct lt_inbox *in, size_t n) {
    in->start += (unsigned)n;
    if (in->start == in->end)
        in->start = in->end = in->floor;
}

void lt_inbox_pin(struct lt_inbox *in, size_t n) {
    in->start += (unsigned)n;
    in->floor = in->start;
}

void lt_inbox_release(struct lt_inbox *in) {
    unsigned left = in->end - in->start;
    if (left == 0) {
        lt_inbox_fini(in);
        return;
    }
    if (in->start)
        memmove(data_of(in), data_of(in) + in->start, left);
    in->floor = in->start = 0;
    in->end = left;
}

void lt_inbox_compact(struct lt_inbox *in) {
    unsigned left = in->end - in->start;
    if (in->start == in->floor || left == 0)
        return;
    memmove(data_of(in) + in->floor, data_of(in) + in->start, left);
    in->start = in->floor;
    in->end = in->floor + left;
}
