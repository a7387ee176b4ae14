// SPDX-License-Identifier: Apache-2.0
// The key ring: named 256-bit keys. The first one seals, all of them open.
#pragma once

#include "base/span.h"

#include <stdint.h>

enum { LT_KEY_BYTES = 32, LT_KEY_ID_MAX = 16, LT_KEYS_MAX = 16 };

struct lt_key {
    char id[LT_KEY_ID_MAX + 1]; // [A-Za-z0-9_-]{1,16}
    uint8_t secret[LT_KEY_BYTES];
};

struct lt_key_ring {
    struct lt_key keys[LT_KEYS_MAX];
    unsigned n;
};

// Reads "id:base64url" entries separated by commas, blanks or newlines; a line's rest behind "#" is a comment.
// False: `error` (size bytes) says what is wrong and what to write, without showing any key: `key 2: "x" has no ":"; write
// "id:secret", one made by "lethe keygen"`. Doubled ids, wrong lengths and too many keys are errors. The ring is then empty.
bool lt_key_ring_parse(struct lt_key_ring *ring, struct lt_span text, char *error, size_t size);

// The same, behind the keys that the ring has already: for a ring out of several places.
bool lt_key_ring_add(struct lt_key_ring *ring, struct lt_span text, char *error, size_t size);

// The next entry of such a text, comments passed over, taken off *text. False: none left.
bool lt_key_ring_next(struct lt_span *text, struct lt_span *entry);

// A new random key with an id made of `now` (ms since 1970): "k20261123a7c40e". False: no randomness.
bool lt_key_new(struct lt_key *key, int64_t now);

// "id:base64url" with a NUL; returns its length. `size` at least 64.
size_t lt_key_format(const struct lt_key *key, char *out, size_t size);

// Wipes the secrets from memory.
void lt_key_ring_wipe(struct lt_key_ring *ring);
