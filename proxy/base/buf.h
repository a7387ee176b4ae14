// SPDX-License-Identifier: Apache-2.0
// A growable byte queue with a maximum: append at the end, consume at the front.
#pragma once

#include "base/span.h"

struct lt_buf {
    char *p;
    size_t off, len, cap; // the content is p[off .. off+len)
    size_t max;           // the most content bytes; an append beyond fails
};

// Names the maximum; allocates nothing yet.
static inline void lt_buf_init(struct lt_buf *b, size_t max) {
    *b = (struct lt_buf){.max = max};
}

// Frees the memory and empties the buffer; it can be used again.
void lt_buf_fini(struct lt_buf *b);

// Room for `n` more bytes at the end, not yet counted as content: write there, then lt_buf_grew().
// NULL: over the maximum, or no memory.
char *lt_buf_reserve(struct lt_buf *b, size_t n) __attribute__((warn_unused_result));

static inline void lt_buf_grew(struct lt_buf *b, size_t n) {
    b->len += n;
}

// False: over the maximum, or no memory; nothing was appended.
bool lt_buf_append(struct lt_buf *b, struct lt_span s) __attribute__((warn_unused_result));

bool lt_buf_printf(struct lt_buf *b, const char *format, ...) __attribute__((format(printf, 2, 3), warn_unused_result));

static inline struct lt_span lt_buf_span(const struct lt_buf *b) {
    return lt_span(b->p ? b->p + b->off : NULL, b->len);
}

// Takes `n` bytes (at most the content) off the front.
static inline void lt_buf_consume(struct lt_buf *b, size_t n) {
    b->off += n;
    b->len -= n;
    if (b->len == 0)
        b->off = 0;
}
