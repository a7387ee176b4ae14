// SPDX-License-Identifier: Apache-2.0
// The key ring that the option `keys` names.
#pragma once

#include "crypto/key_ring.h"

// `option`: "id:secret,…" or "file:/path". False: `error` says what is wrong with it and what to write, without any secret.
bool lt_keys_load(struct lt_key_ring *ring, struct lt_span option, char *error, size_t size);

// Without the option. For the sealed store: one key made for the life of this process. For Redis: a ring whose key is public, so that
// only the client's token opens a record. Warns once in a process.
bool lt_keys_default(struct lt_key_ring *ring, bool sealed);
