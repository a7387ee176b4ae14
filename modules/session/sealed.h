// SPDX-License-Identifier: Apache-2.0
// The store without a server: the whole record, sealed, is the client's cookie. It carries the jar only.
#pragma once

#include "crypto/seal.h"
#include "modules/session/client.h"

// The record in the cookie's value; NULL: not one of ours, changed on the way, or too old. *key, if not NULL, is the ring's key that
// it is sealed under.
struct lt_record *sealed_open(const struct lt_key_ring *ring, struct lt_span cookie_name, struct lt_span value,
                              const struct client_limits *limits, const struct lt_key **key);

// The cookie's value, in the arena. `.p` NULL: no memory, or (with *too_large) over limits->max.
struct lt_span sealed_make(const struct lt_key_ring *ring, struct lt_span cookie_name, const struct lt_record *record,
                           const struct client_limits *limits, struct lt_arena *arena, bool *too_large);
