// SPDX-License-Identifier: Apache-2.0
// Where the slots of a Redis cluster are: one client a node (lt_redis), a map from slots to nodes, renewed by CLUSTER SLOTS at the
// start, now and then, and whenever a node redirects, fails or is away. Replicas are never asked. The caller sends, and asks here what
// to do with an error; so it needs no copy of a command.
#pragma once

#include "net/redis.h"
#include "net/redis_slot.h"

struct lt_redis_cluster;

// What to do with a command that was not served.
enum lt_redis_advice {
    LT_REDIS_FINAL, // it is an answer like any other
    LT_REDIS_AGAIN, // send it at once, to where lt_redis_cluster_node() says, or for an ASK to *node with `asking`
    LT_REDIS_LATER, // send it again in a moment: the slot is on its way (TRYAGAIN)
    LT_REDIS_AWAY,  // CLUSTERDOWN: nobody serves the slot until a fail-over is through
};

// `o` as for lt_redis_new(), with the address left empty; its owner is told what happens to each node. `seeds`: "host:port".
// The texts of `o`, and the seeds, must outlive it. NULL: no memory.
struct lt_redis_cluster *lt_redis_cluster_new(struct lt_loop *loop, const struct lt_redis_options *o,
                                              const struct lt_span *seeds, unsigned n);
// Calls still under way are completed with LT_ERR_CANCELED.
void lt_redis_cluster_free(struct lt_redis_cluster *c);

// Who serves the slot, as far as is known. Before the first map: one of the seeds, which redirects.
struct lt_redis *lt_redis_cluster_node(struct lt_redis_cluster *c, unsigned slot);

// `error`: what the node said; `from`: the node. *node is set for an ASK, and NULL otherwise.
enum lt_redis_advice lt_redis_cluster_judge(struct lt_redis_cluster *c, struct lt_span error, struct lt_redis *from,
                                            struct lt_redis **node);

// Is a node that the map names away?
bool lt_redis_cluster_is_open(const struct lt_redis_cluster *c);

// The i-th node that has slots; NULL: there are not so many.
struct lt_redis *lt_redis_cluster_nth(const struct lt_redis_cluster *c, unsigned i);
