// SPDX-License-Identifier: Apache-2.0
// Memory that dies with its owner: an exchange takes many small pieces and gives all back at once.
// Built with AddressSanitizer, each piece is a malloc of its own, so that an overrun is seen.
#pragma once

#include "base/span.h"

struct lt_arena {
    struct lt_arena_chunk *chunks; // newest first
    struct lt_arena_chunk *lent;   // of somebody else; NULL: none
    size_t used, max;              // bytes handed out; the limit on them
};

// `max`: the most bytes that the arena hands out in its life. Allocates nothing yet.
void lt_arena_init(struct lt_arena *a, size_t max);

// The first pieces come from `room` (aligned for any type, a few hundred bytes at the least), which stays the caller's and must live as
// long as what is in the arena.
void lt_arena_lend(struct lt_arena *a, void *room, size_t size);

// Gives everything back; the arena can be used again.
void lt_arena_fini(struct lt_arena *a);

// `n` bytes, aligned for any type, not cleared. NULL when the arena's limit or the memory is reached:
// the caller fails its exchange with 503.
void *lt_arena_alloc(struct lt_arena *a, size_t n) __attribute__((warn_unused_result));

// The same, cleared to zero.
void *lt_arena_zalloc(struct lt_arena *a, size_t n) __attribute__((warn_unused_result));

// A copy of `s` with a NUL behind it that `n` does not count. `.p` is NULL when there is no room.
struct lt_span lt_arena_dup(struct lt_arena *a, struct lt_span s) __attribute__((warn_unused_result));

// The `n` pieces one behind the other, with a NUL behind them that the span does not count. `.p` is NULL when there is no room.
struct lt_span lt_arena_join(struct lt_arena *a, const struct lt_span *pieces, size_t n)
    __attribute__((warn_unused_result));
#define LT_JOIN(arena, ...)                                                                                            \
    lt_arena_join(arena, (const struct lt_span[]){__VA_ARGS__},                                                        \
                  sizeof((const struct lt_span[]){__VA_ARGS__}) / sizeof(struct lt_span))

// snprintf into the arena: for what is rare; LT_JOIN costs a tenth of it. `.p` is NULL when there is no room.
struct lt_span lt_arena_printf(struct lt_arena *a, const char *format, ...)
    __attribute__((format(printf, 2, 3), warn_unused_result));
