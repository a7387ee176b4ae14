// SPDX-License-Identifier: Apache-2.0
// Goes through all rows of a prefix, some hundred at a time: for an operator's tools.
#pragma once

#include "net/postgres.h"
#include "store/driver.h"

// `statement`: scan_sql's number.
void postgres_scan_begin(struct lt_postgres *p, unsigned statement, struct lt_store *s, struct lt_store_scan *scan);

// A bigint of a row, which comes as 8 bytes. 0: NULL.
uint64_t postgres_number(const struct pg_result *r, int row, int column);
