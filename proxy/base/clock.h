// SPDX-License-Identifier: Apache-2.0
// The two clocks, in milliseconds, and the way for a test to hold them in its hand.
#pragma once

#include <stdint.h>

// Monotonic: for waits, deadlines and durations. Starts anywhere.
int64_t lt_clock_mono(void);

// Wall clock since 1970 UTC: for what is stored or shown.
int64_t lt_clock_wall(void);

// For tests only: both clocks stand at these values until the next call; (-1, -1) gives the real ones back.
void lt_clock_set(int64_t mono, int64_t wall);
