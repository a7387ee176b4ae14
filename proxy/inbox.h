// SPDX-License-Identifier: Apache-2.0
// Where a connection's input lands: one block of fixed size, taken from the worker's pool when bytes come and given back
// when the connection idles. A head stays at the front of the block as long as its exchange lives, since the header table
// points into it; a body streams through the space behind.
//
//     0        floor      start            end        size
//     | head   |          | not yet read   |          |
#pragma once

#include "base/block.h"
#include "net/stream.h"

enum { LT_BODY_ROOM = 4 << 10 }; // at the least behind the largest head, for the body to stream through

struct lt_inbox {
    struct lt_block_pool *pool;
    struct lt_block *block; // NULL while there is nothing
    unsigned floor, start, end;
    bool full; // the last read took as much as it might: the socket may hold more
};

void lt_inbox_init(struct lt_inbox *in, struct lt_block_pool *pool);

// Gives the block back, whatever is in it.
void lt_inbox_fini(struct lt_inbox *in);

// One recv into the free space. LT_ERR_LIMIT: there is none (stop reading until something was consumed);
// LT_ERR_MEMORY: no block to be had; else as lt_stream_read().
enum lt_err lt_inbox_read(struct lt_inbox *in, struct lt_stream *s, size_t *got) __attribute__((warn_unused_result));

// The same, of `most` bytes.
enum lt_err lt_inbox_read_most(struct lt_inbox *in, struct lt_stream *s, size_t most, size_t *got)
    __attribute__((warn_unused_result));

static inline struct lt_span lt_inbox_span(const struct lt_inbox *in) {
    return lt_span(in->block ? (const char *)in->block->data + in->start : NULL, in->end - in->start);
}

// Takes `n` bytes off the front; when all is taken, the space behind the floor is free again.
void lt_inbox_consume(struct lt_inbox *in, size_t n);

// Moves what is left to the floor, so that there is room behind it again. Nothing may point into it.
void lt_inbox_compact(struct lt_inbox *in);

// The `n` bytes at the front are a head: they stay where they are until lt_inbox_release().
void lt_inbox_pin(struct lt_inbox *in, size_t n);

// Hands the block over, to be given back to the pool; the inbox is then empty. NULL: there is none. For a head that is needed for longer
// than its connection.
struct lt_block *lt_inbox_detach(struct lt_inbox *in) __attribute__((warn_unused_result));

// The exchange is over: what is left moves to the block's beginning; with nothing left the block is given back.
void lt_inbox_release(struct lt_inbox *in);
