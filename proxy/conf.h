// SPDX-License-Identifier: Apache-2.0
// The core's own options: the top level, timeouts.*, limits.*, log.*; beside them tls.*, and redis.* of the store.
#pragma once

#include "config/config.h"
#include "net/address.h"
#include "tls_conf.h"

struct lt_top_conf {
    struct lt_option_list listen;
    struct lt_span upstream, admin, store, keys;
    int64_t workers;
    bool proxy_protocol, http2;
    struct lt_option_list trusted_proxies;
};

struct lt_timeouts_conf {
    int64_t head, idle, upstream_connect, upstream, tunnel, drain, drain_quiet;
};

struct lt_limits_conf {
    int64_t head, connections, upstream_connections;
};

struct lt_log_conf {
    int format, level;
    bool access;
};

// The option groups of the core, for lt_config_load() beside those of the modules.
enum { LT_CORE_GROUPS = 6 };
extern const struct lt_option_group lt_core_groups[LT_CORE_GROUPS];

// What the data plane reads of a loaded configuration, looked up once.
struct lt_core_conf {
    const struct lt_top_conf *top;
    const struct lt_timeouts_conf *timeouts;
    const struct lt_limits_conf *limits;
    const struct lt_log_conf *log;
    struct lt_cidr *trusted; // from top->trusted_proxies
    unsigned n_trusted;
    struct lt_span upstream; // the address alone
    struct lt_tls_made tls;
    uint64_t stamp; // lt_core_conf_stamp() before the files were read: what is written meanwhile is seen at the next look
};

// `arena` holds the derived parts and must live as long as `out`. `files`: also reads what tls.* names. False: `diag` says why.
bool lt_core_conf_of(const struct lt_config *c, struct lt_arena *arena, bool files, struct lt_core_conf *out,
                     struct lt_diag *diag) __attribute__((warn_unused_result));
// Gives back what is not in the arena.
void lt_core_conf_fini(struct lt_core_conf *c);

// Changes when a file that the options name changes: the key ring's and those of tls.*. 0: they name none.
uint64_t lt_core_conf_stamp(const struct lt_core_conf *c);

// Is this peer one of trusted_proxies?
bool lt_core_trusts(const struct lt_core_conf *c, const struct lt_ip *peer);
