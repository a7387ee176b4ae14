// SPDX-License-Identifier: Apache-2.0
// The report as the admin listener gives it: made at most once for all who watch, and told apart by what changed. Admin thread only.
#pragma once

#include "base/buf.h"

#include <stdint.h>

// The whole report as one JSON object, made now. False: no memory.
bool lt_feed_report(struct lt_buf *out) __attribute__((warn_unused_result));

// One server-sent event with the members that changed since `*seen` (0: all of them), made at most 0.9 s ago; moves `*seen`.
bool lt_feed_event(struct lt_buf *out, uint64_t *seen) __attribute__((warn_unused_result));
