// SPDX-License-Identifier: Apache-2.0
// Lists what a Redis has under a prefix, for an operator's tools: SCAN node by node, and one look at each record.
#pragma once

#include "net/redis.h"
#include "store/store.h"

// `nth`: the i-th node that has records; NULL: there are not so many.
void redis_scan_begin(struct lt_store *s, struct lt_store_scan *scan,
                      struct lt_redis *(*nth)(struct lt_store *s, unsigned i));
