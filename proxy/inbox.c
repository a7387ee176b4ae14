// SPDX-License-Identifier: Apache-2.0
#include "inbox.h"

// A head and a small body; the rest of a large one need not come here (lt_stream_splice).
enum { FIRST_READ = 16 << 10 };

static char *data_of(struct lt_inbox *in) {
    return (char *)in->block->data;
}

void lt_inbox_init(struct lt_inbox *in, struct lt_block_pool *pool) {
    *in = (struct lt_inbox){.pool = pool};
}

struct lt_block *lt_inbox_detach(struct lt_inbox *in) {
    struct lt_block *block = in->block;
    *in = (struct lt_inbox){.pool = in->pool};
    return block;
}

void lt_inbox_fini(struct lt_inbox *in) {
    struct lt_block *block = lt_inbox_detach(in);
    if (block)
        lt_block_give(in->pool, block);
}

enum lt_err lt_inbox_read_most(struct lt_inbox *in, struct lt_stream *s, size_t most, size_t *got) {
    *got = 0;
    bool fresh = !in->block;
    if (fresh && !(in->block = lt_block_take(in->pool)))
        return LT_ERR_MEMORY;
    size_t space = in->pool->size - in->end;
    if (space == 0)
        return LT_ERR_LIMIT;
    if (fresh && space > FIRST_READ)
        space = FIRST_READ;
    if (space > most)
        space = most;
    enum lt_err e = lt_stream_read(s, data_of(in) + in->end, space, got);
    in->end += (unsigned)*got;
    in->full = *got == space;
    if (fresh && *got == 0)
        lt_inbox_fini(in);
    return e;
}

enum lt_err lt_inbox_read(struct lt_inbox *in, struct lt_stream *s, size_t *got) {
    return lt_inbox_read_most(in, s, SIZE_MAX, got);
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
