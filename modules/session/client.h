// SPDX-License-Identifier: Apache-2.0
// Records that the client holds: what the two forms (sealed.c, jwt.c) share, and how a value that is too long for one cookie is cut into
// several:  lethe=3~<first part>; lethe.1=<second>; lethe.2=<third>
// The number of parts stands in the first, so that one that was left over from a longer value is nobody's. That the parts belong
// together, in this order, is what the seal or the signature over the whole says.
#pragma once

#include "module.h"

enum {
    CLIENT_NAME_MAX = 64, // of the option session.cookie_name
    CLIENT_PART = 3900,   // browsers keep 4,096 bytes of name, value and attributes
    CLIENT_PARTS = 9,
};

struct client_cookie {
    struct lt_span part[CLIENT_PARTS]; // empty: not there
};

// When a record is over, and how long the cookie's value may be.
struct client_limits {
    int64_t now, idle_ttl, absolute_ttl; // ms
    size_t max;
};

// Which part is the cookie `name` (without "__Host-")? -1: none of ours.
int client_part_of(struct lt_span name, struct lt_span cookie_name);

// The value that the parts make, in the arena when there are several. Empty: there is none, one is missing, or it is longer than `max`.
struct lt_span client_join(const struct client_cookie *c, size_t max, struct lt_arena *arena);

// Cuts a value of at most CLIENT_PARTS * (CLIENT_PART - 2) bytes. Returns the number of parts; 0: no memory.
unsigned client_split(struct lt_span value, struct client_cookie *c, struct lt_arena *arena);

// Is it over by the idle or the absolute limit?
bool client_is_over(const struct lt_record *r, const struct client_limits *limits);
