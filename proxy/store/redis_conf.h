// SPDX-License-Identifier: Apache-2.0
// The options redis.*: what does not fit into the URL of the option `store`.
#pragma once

#include "config/option.h"
#include "net/tls.h"

struct redis_conf {
    struct lt_span ca, cert, key, server_name;
};

// For the table of groups.
enum { LT_STORE_REDIS_ROWS = 4 };
extern const struct lt_option lt_store_redis_rows[LT_STORE_REDIS_ROWS];
bool lt_store_redis_check(const void *values, struct lt_diag *diag);
#define LT_STORE_REDIS_OPTIONS                                                                                         \
    { "redis", lt_store_redis_rows, LT_STORE_REDIS_ROWS, sizeof(struct redis_conf), lt_store_redis_check }

// As lt_tls_context_new(). `conf` NULL: all defaults.
struct lt_tls_context *redis_conf_tls(const struct redis_conf *conf, enum lt_tls_file *wrong, const char **why);
