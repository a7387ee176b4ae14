// SPDX-License-Identifier: Apache-2.0
// The servers of a URL "memcached://one:11211,two:11211/", and which of them has a session.
#pragma once

#include "net/memcached.h"
#include "store/store.h"

enum { LT_MEMCACHED_SERVERS = 16 };

struct lt_memcached_servers {
    unsigned n;
    struct lt_memcached *clients[LT_MEMCACHED_SERVERS];
    uint64_t names[LT_MEMCACHED_SERVERS]; // hashes of the addresses as they are written
};

// NULL, or what to write instead.
const char *lt_memcached_servers_check(struct lt_span url);

// False: no memory; nothing is left to be freed. `value_max`: the largest value that may come.
// `store` hears of the breakers.
bool lt_memcached_servers_init(struct lt_memcached_servers *m, const struct lt_store_options *o, size_t value_max,
                               struct lt_store *store);
void lt_memcached_servers_fini(struct lt_memcached_servers *m);

// Rendezvous hashing: the server with the highest score for this session. One more server takes over its share and moves nothing else.
// One that is away keeps its sessions: they are answered 503, never begun anew elsewhere.
struct lt_memcached *lt_memcached_servers_find(const struct lt_memcached_servers *m, const char *hash);

// Is any of them not asked because it did not answer?
bool lt_memcached_servers_is_open(const struct lt_memcached_servers *m);
