// SPDX-License-Identifier: Apache-2.0
// The arithmetic of a Redis cluster (redis.io, "Redis cluster specification"): slots and redirections.
#pragma once

#include "base/span.h"
#include "net/address.h"

#include <stdint.h>

enum { LT_REDIS_SLOTS = 16384 };

// CRC16/XMODEM: "123456789" gives 0x31C3.
uint16_t lt_redis_crc16(struct lt_span s);

// The slot of a key: of what stands in its first pair of braces, if that is not empty, else of all of it.
unsigned lt_redis_slot(struct lt_span key);

enum lt_redis_redirect { LT_REDIS_STAY, LT_REDIS_MOVED, LT_REDIS_ASK };

// Reads "MOVED 3999 127.0.0.1:6381" or "ASK …". The address is written so that lt_host_port() reads it; one without host ("the same
// host", section "MOVED redirection") gets that of `from`, the server that said it. STAY: it is another error, or malformed.
enum lt_redis_redirect lt_redis_redirect(struct lt_span error, struct lt_span from, unsigned *slot,
                                         char address[LT_ADDRESS_TEXT]);

// "host:port" from the two, with brackets where the host is an IPv6 address; an empty host, or "?", is that of `from`. False: too long.
bool lt_redis_join(struct lt_span host, struct lt_span port, struct lt_span from, char address[LT_ADDRESS_TEXT]);
