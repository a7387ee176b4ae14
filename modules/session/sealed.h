// SPDX-License-Identifier: Apache-2.0
// The store without a server: the whole record, sealed, is the client's cookie. It carries the jar only.
#pragma once

#include "crypto/seal.h"
#include "module.h"

enum { SEALED_COOKIE_MAX = 3900 }; // browsers keep 4,096 bytes of name, value and attributes

// The record in the cookie's value; NULL: not one of ours, changed on the way, or too old by `idle_ttl` or `absolute_ttl` (ms).
struct lt_record *sealed_open(const struct lt_key_ring *ring, struct lt_span cookie_name, struct lt_span value,
                              int64_t now, int64_t idle_ttl, int64_t absolute_ttl);

// The cookie's value, in the arena. `.p` NULL: no memory, or (with *too_large) over SEALED_COOKIE_MAX.
struct lt_span sealed_make(const struct lt_key_ring *ring, struct lt_span cookie_name, const struct lt_record *record,
                           struct lt_arena *arena, bool *too_large);
