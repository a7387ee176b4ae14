// SPDX-License-Identifier: Apache-2.0
#include "base/clock.h"

#include <time.h>

static int64_t fixed_mono = -1, fixed_wall = -1;

static int64_t read_clock(clockid_t id) {
    struct timespec t;
    clock_gettime(id, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

int64_t lt_clock_mono(void) {
    return fixed_mono >= 0 ? fixed_mono : read_clock(CLOCK_MONOTONIC);
}

int64_t lt_clock_wall(void) {
    return fixed_wall >= 0 ? fixed_wall : read_clock(CLOCK_REALTIME);
}

void lt_clock_set(int64_t mono, int64_t wall) {
    fixed_mono = mono;
    fixed_wall = wall;
}
