// SPDX-License-Identifier: Apache-2.0
// Within one worker the requests of one session stand in line: only the first of them asks the store for the lock, and when it
// is done the next one goes on, in the order of arrival.
#pragma once

#include "base/list.h"

enum { LOCK_BUCKETS = 256 };

struct lock_queue {
    struct lt_list buckets[LOCK_BUCKETS]; // of those who stand first
};

// One request's place; embedded in its state.
struct lock_place {
    struct lt_list node; // in the bucket when first, else in `line` of the first
    struct lt_list line; // first only: those who wait behind, in order
    const char *hash;    // of the token; outlives the place
    bool first, queued;
    void (*turn)(struct lock_place *p); // called from lock_leave() of the one before
};

void lock_queue_init(struct lock_queue *q);

// True: it stands first and may ask the store. False: it waits for `turn`.
bool lock_enter(struct lock_queue *q, struct lock_place *p);

// Leaves the line, first or not; the next one's `turn` is called when the first left. Does nothing when it is in none.
void lock_leave(struct lock_queue *q, struct lock_place *p);
