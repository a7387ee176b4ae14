// SPDX-License-Identifier: Apache-2.0
// Blocks of memory of one size, kept for the next one who needs one: for one thread.
#pragma once

#include <stddef.h>

struct lt_block {
    struct lt_block *next; // while it is free
    max_align_t data[];
};

struct lt_block_pool {
    struct lt_block *free;
    size_t size;        // of data
    unsigned kept, out; // free ones, ones in use
};

void lt_block_pool_init(struct lt_block_pool *p, size_t size);
// Those that are out must have come back.
void lt_block_pool_fini(struct lt_block_pool *p);

// Not cleared. NULL: no memory.
struct lt_block *lt_block_take(struct lt_block_pool *p) __attribute__((warn_unused_result));
void lt_block_give(struct lt_block_pool *p, struct lt_block *b);
