// SPDX-License-Identifier: Apache-2.0
// The two clocks, in milliseconds, and the way for a test to hold them in its hand.
#pragma once

#include <stdint.h>

// Monotonic: for waits, deadlines and durations. Starts anywhere.
int64_t lt_clock_mono(void);

// Wall clock since 1970 UTC: for what is stored or shown.
int64_t lt_clock_wall(void);

// For an event loop, at the beginning of each turn: until the next call, this thread reads each of the clocks once and no more. What a
// turn does takes microseconds, and every request asks a dozen times. lt_clock_turns_end(): each look counts again.
void lt_clock_turn(void);
void lt_clock_turns_end(void);

// For tests only: both clocks stand at these values until the next call; (-1, -1) gives the real ones back.
void lt_clock_set(int64_t mono, int64_t wall);
