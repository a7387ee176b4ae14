// SPDX-License-Identifier: Apache-2.0
// A schema with every type of option, for the tests and the fuzz target.
#pragma once

#include "config/config.h"

struct schema_top {
    struct lt_span name, password;
    struct lt_option_list places;
};

struct schema_part {
    int64_t count, time, size;
    int color;
    bool on;
};

enum { SCHEMA_GROUPS = 2 };
extern const struct lt_option_group schema_groups[SCHEMA_GROUPS];
