// SPDX-License-Identifier: Apache-2.0
// Sessions that were lost, or look so: counted by reason and by route for the whole process. Rare events, so one table under a lock.
#pragma once

#include "base/buf.h"
#include "base/route.h"

#include <stdint.h>

enum { LT_LOST_ROWS = 64 };

struct lt_lost {
    const char *reason; // a literal: "missing_file"
    char route[LT_ROUTE];
    uint64_t count;
    int64_t last; // monotonic ms: the latest of them
};

// `path`: of the request; counted under its route, or "other" when the table is full.
void lt_lost_add(const char *reason, struct lt_span path);

// Copies at most `max` rows; returns how many.
unsigned lt_lost_look(struct lt_lost *rows, unsigned max);

// Appends lethe_sessions_lost_total{reason,route} in Prometheus text. False: `out` is full.
bool lt_lost_print(struct lt_buf *out) __attribute__((warn_unused_result));

// For tests: an empty table.
void lt_lost_reset(void);
