// SPDX-License-Identifier: Apache-2.0
// Follows the master that Redis Sentinel names: asked before each connection, told of each switch (+switch-master), and asked again
// now and then, in case a message was lost. The node's own greeting verifies with ROLE that it is a master.
#pragma once

#include "net/redis.h"
#include "net/redis_url.h"

struct lt_redis_sentinel;

// Makes the client of the master: `o` as for lt_redis_new(), its address and `locate` left empty; the sentinels get the same
// user, password and TLS. `o->owner` is told what happens to the master's client. NULL: no memory.
struct lt_redis_sentinel *lt_redis_sentinel_new(struct lt_loop *loop, const struct lt_redis_options *o,
                                                const struct lt_redis_place *place);
void lt_redis_sentinel_free(struct lt_redis_sentinel *s);

// The master's client, the same one through all fail-overs.
struct lt_redis *lt_redis_sentinel_master(struct lt_redis_sentinel *s);
