// SPDX-License-Identifier: Apache-2.0
#include "base/clock.h"

#include <time.h>

enum { NOT_KEPT = -1, NOT_READ = -2 };

static int64_t fixed_mono = -1, fixed_wall = -1;
static _Thread_local int64_t turn_mono = NOT_KEPT, turn_wall = NOT_KEPT;

static int64_t read_clock(clockid_t id) {
    struct timespec t;
    clock_gettime(id, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static int64_t look(clockid_t id, int64_t fixed, int64_t *kept) {
    if (*kept >= 0)
        return *kept;
    int64_t now = fixed >= 0 ? fixed : read_clock(id);
    if (*kept == NOT_READ && fixed < 0)
        *kept = now;
    return now;
}

int64_t lt_clock_mono(void) {
    return look(CLOCK_MONOTONIC, fixed_mono, &turn_mono);
}

int64_t lt_clock_wall(void) {
    return look(CLOCK_REALTIME, fixed_wall, &turn_wall);
}

void lt_clock_turn(void) {
    turn_mono = turn_wall = NOT_READ;
}

void lt_clock_turns_end(void) {
    turn_mono = turn_wall = NOT_KEPT;
}

void lt_clock_set(int64_t mono, int64_t wall) {
    fixed_mono = mono;
    fixed_wall = wall;
}
