// SPDX-License-Identifier: Apache-2.0
// Lets the loop of a test turn, for a time or until something is so.
#pragma once

#include "net/loop.h"

#include <criterion/criterion.h>

struct turns_limit {
    struct lt_timer timer;
    struct lt_loop *loop;
};

static inline void turns_over(struct lt_timer *t) {
    lt_loop_stop(LT_ENTRY(t, struct turns_limit, timer)->loop);
}

// For `ms`.
static inline void turns(struct lt_loop *loop, int64_t ms) {
    struct turns_limit limit = {.loop = loop};
    lt_timer_init(&limit.timer, turns_over);
    lt_timer_set(loop, &limit.timer, ms);
    loop->stopped = false;
    lt_loop_run(loop);
}

// Until it is so, or for 5 s, which fails the test.
#define TURNS_UNTIL(loop, condition)                                                                                   \
    do {                                                                                                               \
        for (int i_ = 0; i_ < 500 && !(condition); i_++)                                                               \
            turns(loop, 10);                                                                                           \
        cr_assert(condition);                                                                                          \
    } while (0)
