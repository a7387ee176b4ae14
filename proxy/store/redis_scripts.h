// SPDX-License-Identifier: Apache-2.0
// The operations of the store as scripts: KEYS are the record and, where a lock can come into it, the lock; ARGV are
//   1 owner  2 lease  3 ttl  4 now  5 data  6 expires  7 fence  8 release  9 condition
// and the answer is {"ok"[, data, number]}, {"miss"}, {"ended"}, {"busy"} or {"fenced"}. Each may be repeated without harm.
#pragma once

#include "store/store.h"

enum { REDIS_DIGEST = 40 };

struct lt_span redis_script(enum lt_store_kind kind);

// For EVALSHA.
void redis_script_digest(enum lt_store_kind kind, char out[REDIS_DIGEST + 1]);
