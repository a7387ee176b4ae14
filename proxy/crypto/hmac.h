// SPDX-License-Identifier: Apache-2.0
// HMAC-SHA256 (RFC 2104) and HKDF-SHA256 (RFC 5869) over OpenSSL's SHA-256. A request with a session makes three of these, of a few
// dozen bytes each: through EVP_MAC and EVP_KDF nine tenths of their cost are contexts, parameters and locks
// (bench/micro), so the two constructions, eight lines each, stand here. Nothing here can fail.
#pragma once

#include "base/span.h"

enum { LT_SHA256_BYTES = 32 };

// HMAC of the pieces one behind the other. Any thread.
void lt_hmac(struct lt_span key, const struct lt_span *pieces, unsigned n, uint8_t out[LT_SHA256_BYTES]);

// One block of HKDF: at most 32 bytes of key, which is what every use here takes. An empty salt is 32 zero bytes (RFC 5869 section 2.2).
void lt_hkdf(struct lt_span secret, struct lt_span salt, struct lt_span info, uint8_t out[LT_SHA256_BYTES]);
