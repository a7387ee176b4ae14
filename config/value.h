// SPDX-License-Identifier: Apache-2.0
// One option's value between its text and its place in the group's structure.
#pragma once

#include "config/option.h"

enum { LT_OPTION_NAME = 64 };

// "session.idle_ttl", or "listen" for the top level.
void lt_option_name(const struct lt_option_group *g, const struct lt_option *o, char out[LT_OPTION_NAME]);

// "LETHE_SESSION_IDLE_TTL".
void lt_option_environment(const struct lt_option_group *g, const struct lt_option *o, char out[LT_OPTION_NAME]);

// Reads `text` into the structure `group`, what it needs is copied into `arena`. NULL, or (in the arena) what is wrong and what to write:
// `"30" has no unit; write "30m"`; a secret's text is never in it.
const char *lt_option_read(const struct lt_option *o, struct lt_span text, void *group, struct lt_arena *arena);

// The same for LT_OPT_LIST when the entries are known one by one.
const char *lt_option_read_list(const struct lt_option *o, const struct lt_span *entries, unsigned n, void *group,
                                struct lt_arena *arena);

// The value as one would write it in a file (`"30m"`, `["a", "b"]`, `4`). `.p` NULL: no memory.
struct lt_span lt_option_format(const struct lt_option *o, const void *group, struct lt_arena *arena);

// "10ms to 1h", "text, json"; empty: anything.
struct lt_span lt_option_range(const struct lt_option *o, struct lt_arena *arena);
