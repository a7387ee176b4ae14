// SPDX-License-Identifier: Apache-2.0
// How a process ends: first it says so (readiness fails, each answer ends its connection) and goes on serving until it is quiet, then it
// closes its listeners and lets running requests end, at last it cuts off what has not ended. Only the main thread calls it, but for
// lt_drain_is_seen().
#pragma once

#include "conf.h"

enum lt_drain_phase {
    LT_DRAIN_NOT,
    LT_DRAIN_QUIET,   // serves until no request has come for a while
    LT_DRAIN_CLOSING, // serves what is left
    LT_DRAIN_CUT,     // nothing is served any more; locks are given back
};

// At the start and at each reload. What is already under way keeps its limits.
void lt_drain_setup(const struct lt_timeouts_conf *t);

// `at_once`: without a quiet period; ends the one that is under way.
void lt_drain_begin(bool at_once);
// The same, but another process accepts from the listeners now: readiness goes on being its.
void lt_drain_hand_over(void);

// What time has brought. False: it is over, and some worker has still not ended.
bool lt_drain_step(void);
// ms until lt_drain_step() is due; -1: nothing is.
int64_t lt_drain_patience(void);

enum lt_drain_phase lt_drain_phase(void);
bool lt_drain_is_handed_over(void);
// Does this replica go? Any thread.
bool lt_drain_is_seen(void);
