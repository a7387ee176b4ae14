// SPDX-License-Identifier: Apache-2.0
// Sealing: AES-256-GCM under a key derived by HKDF-SHA256 (RFC 5869) from a ring key and a context, so that no two uses share
// a key. Sealed text:  version 0x01 | id length (1) | key id | nonce (12) | ciphertext | tag (16).
#pragma once

#include "base/arena.h"
#include "crypto/key_ring.h"

// What the key is derived for. `purpose` separates uses ("record", "sealed-cookie"); `secret` is mixed in where the client's token
// must take part (32 bytes, or empty).
struct lt_seal_context {
    struct lt_span purpose, secret;
};

// A key of its own for one use.
void lt_key_derive(const struct lt_key *key, struct lt_seal_context context, uint8_t out[LT_KEY_BYTES]);

// How many bytes sealing `n` bytes takes at the most.
size_t lt_seal_size(size_t n);

// Seals `plain` with the ring's first key; `bound` is authenticated but not stored. Writes to `out` (lt_seal_size bytes), returns
// the length; 0: OpenSSL failed or the ring is empty. Any thread.
size_t lt_seal(const struct lt_key_ring *ring, struct lt_seal_context context, struct lt_span bound,
               struct lt_span plain, uint8_t *out) __attribute__((warn_unused_result));

// Opens with whichever ring key the text names. `out` has room for sealed.n bytes. Returns true and the length in *n; false for any
// change of any bit, an unknown key, another context. *key_index, if not NULL, is the key's place in the ring (0: current).
bool lt_open(const struct lt_key_ring *ring, struct lt_seal_context context, struct lt_span bound,
             struct lt_span sealed, uint8_t *out, size_t *n, unsigned *key_index) __attribute__((warn_unused_result));
