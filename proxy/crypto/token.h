// SPDX-License-Identifier: Apache-2.0
// What the client holds: 256 random bits as base64url, nothing in it to read.
#pragma once

#include "crypto/key_ring.h"

enum { LT_TOKEN_BYTES = 32, LT_TOKEN_TEXT = 43, LT_TOKEN_HASH_TEXT = 43 };

struct lt_token {
    uint8_t bytes[LT_TOKEN_BYTES];
};

// Random bytes from the system's generator. False: none to be had.
bool lt_random(void *out, size_t n) __attribute__((warn_unused_result));

bool lt_token_new(struct lt_token *t) __attribute__((warn_unused_result));

// 43 characters and a NUL.
void lt_token_format(const struct lt_token *t, char out[LT_TOKEN_TEXT + 1]);

// Only the one canonical spelling of 32 bytes is a token. False: anything else.
bool lt_token_parse(struct lt_span text, struct lt_token *t);

// The name under which the store knows the token: base64url of HMAC-SHA256(HKDF(fixed application salt), token): it does not depend on
// the ring, so that rotating keys does not move records, and it cannot be turned back. `scope` separates applications ("" is one).
void lt_token_hash(const struct lt_token *t, struct lt_span scope, char out[LT_TOKEN_HASH_TEXT + 1]);

// The same for another secret that nobody guesses: an application's own session id. `use` sets it apart from tokens.
void lt_secret_hash(struct lt_span secret, const char *use, struct lt_span scope, char out[LT_TOKEN_HASH_TEXT + 1]);

// base64url without padding (RFC 4648 section 5). Encode returns the length written without the NUL (size for n bytes: (n*4+2)/3 + 1).
size_t lt_base64url_encode(const void *in, size_t n, char *out);
// Strict: no padding, no white space, canonical last character. False: malformed, or more than `size` bytes. *n is the length.
bool lt_base64url_decode(struct lt_span text, void *out, size_t size, size_t *n);
