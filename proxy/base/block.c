// SPDX-License-Identifier: Apache-2.0
#include "base/block.h"

#include "base/sanitizer.h"

#include <stdlib.h>

enum { KEEP = LT_ASAN ? 0 : 64 };

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

struct lt_block *lt_block_take(struct lt_block_pool *p) {
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

void lt_block_give(struct lt_block_pool *p, struct lt_block *b) {
    p->out--;
    if (p->kept == KEEP) {
        free(b);
        return;
    }
    b->next = p->free;
    p->free = b;
    p->kept++;
}
