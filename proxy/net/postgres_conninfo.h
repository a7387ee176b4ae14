// SPDX-License-Identifier: Apache-2.0
// The parameters of a PostgreSQL connection. libpq would look names up itself, and the loop would wait: the addresses come from us.
#pragma once

#include "base/err.h"
#include "base/span.h"

enum { LT_PG_PARAMETERS = 64, LT_PG_HOSTS = 8, LT_PG_HOSTS_TEXT = 1024 };

struct lt_target;

// What PQconnectStartParams() takes.
struct lt_pg_parameters {
    const char *keys[LT_PG_PARAMETERS], *values[LT_PG_PARAMETERS];
    char hosts[LT_PG_HOSTS_TEXT], addresses[LT_PG_HOSTS_TEXT], ports[LT_PG_HOSTS_TEXT];
};

struct lt_pg_conninfo;

// NULL: there is no libpq, or it does not read that as a URL, or it names more than LT_PG_HOSTS hosts, or there is no memory.
struct lt_pg_conninfo *lt_pg_conninfo_new(struct lt_span url);
void lt_pg_conninfo_free(struct lt_pg_conninfo *c);

// Begins to resolve its names. False: no memory.
bool lt_pg_conninfo_resolve(struct lt_pg_conninfo *c);

// For the `turn`-th connection; valid as long as `c`. LT_ERR_RESOLVE: no host has an address (yet).
enum lt_err lt_pg_conninfo_parameters(struct lt_pg_conninfo *c, unsigned turn, struct lt_pg_parameters *out);

// The hosts, for log lines.
const char *lt_pg_conninfo_where(const struct lt_pg_conninfo *c);
