// SPDX-License-Identifier: Apache-2.0
// Memory that dies with its owner: an exchange takes many small pieces and gives all back at once.
// Built with AddressSanitizer, each piece is a malloc of its own, so that an overrun is seen.
#pragma once

#include "base/span.h"

struct lt_arena {
    struct lt_arena_chunk *chunks; // newest first
    size_t used, max;              // bytes handed out; the limit on them
};

// `max`: the most bytes that the arena hands out in its life. Allocates nothing yet.
void lt_arena_init(struct lt_arena *a, size_t max);

// Gives everything back; the arena can be used again.
void lt_arena_fini(struct lt_arena *a);

// `n` bytes, aligned for any type, not cleared. NULL when the arena's limit or the memory is reached:
// the caller fails its exchange with 503.
void *lt_arena_alloc(struct lt_arena *a, size_t n) __attribute__((warn_unused_result));

// The same, cleared to zero.
void *lt_arena_zalloc(struct lt_arena *a, size_t n) __attribute__((warn_unused_result));

// A copy of `s` with a NUL behind it that `n` does not count. `.p` is NULL when there is no room.
struct lt_span lt_arena_dup(struct lt_arena *a, struct lt_span s) __attribute__((warn_unused_result));

// snprintf into the arena. `.p` is NULL when there is no room.
struct lt_span lt_arena_printf(struct lt_arena *a, const char *format, ...)
    __attribute__((format(printf, 2, 3), warn_unused_result));
