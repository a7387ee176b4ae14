// SPDX-License-Identifier: Apache-2.0
// What the URL of a Redis says:
//
//   redis://[user:password@]host[:port][/db]                      rediss://…           with TLS
//   redis+unix:///path[?db=0]
//   redis+sentinel://[user:password@]host[:port],…/master[/db]    rediss+sentinel://…
//   redis+cluster://[user:password@]host[:port],…[/]              rediss+cluster://…
#pragma once

#include "base/arena.h"
#include "net/address.h"

enum lt_redis_kind { LT_REDIS_SINGLE, LT_REDIS_SENTINEL, LT_REDIS_CLUSTER };

enum { LT_REDIS_SEEDS = 16, LT_REDIS_DATABASES = 65535 };

struct lt_redis_place {
    enum lt_redis_kind kind;
    bool tls;
    struct lt_span seeds[LT_REDIS_SEEDS]; // "host:port" or "unix:/path": the server, the sentinels, or nodes of the cluster
    unsigned n_seeds;                     // at least 1
    struct lt_span master;                // SENTINEL: the name of the master
    struct lt_span user, password;        // empty: none
    unsigned database;
};

// False: `error` says what to write. The texts are made in `arena`.
bool lt_redis_url(struct lt_span url, struct lt_arena *arena, struct lt_redis_place *place, const char **error);
