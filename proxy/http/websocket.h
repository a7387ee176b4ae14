// SPDX-License-Identifier: Apache-2.0
// Where frames end in one direction of a WebSocket (RFC 6455 section 5.2), from the headers alone: payloads are not looked at.
#pragma once

#include "base/span.h"

#include <stdint.h>

enum { LT_WS_HEAD_MAX = 14, LT_WS_GOING_AWAY_MAX = 8 };

// Zeroed at the beginning: between two frames.
struct lt_ws_frames {
    uint64_t left; // bytes of the current frame's payload that are still to come
    unsigned char head[LT_WS_HEAD_MAX];
    unsigned char n; // bytes of the current header that have come
    bool lost;       // what came is no frame: nothing is known any more
    bool closed;     // a close frame has begun: no other may follow it
};

// These bytes go by: all of them, or (`one`) those up to the end of the frame that they are in. Returns how many.
size_t lt_ws_pass(struct lt_ws_frames *f, struct lt_span data, bool one);

// May a frame of our own go here?
bool lt_ws_is_between(const struct lt_ws_frames *f);

// A close frame with the code 1001, going away; masked with `mask` when it goes to a server (NULL: to a client). Returns its size.
size_t lt_ws_going_away(unsigned char out[LT_WS_GOING_AWAY_MAX], const unsigned char mask[4]);
