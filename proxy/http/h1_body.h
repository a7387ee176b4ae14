// SPDX-License-Identifier: Apache-2.0
// Reads a body of any framing as a sequence of data slices of the read buffer; nothing is copied but trailers.
#pragma once

#include "base/buf.h"
#include "http/framing.h"

enum lt_body_status {
    LT_BODY_MORE, // all input was taken; give more when there is some
    LT_BODY_DATA, // *data holds the next slice (never empty)
    LT_BODY_END,  // the message is over; trailers, if any, are in b->trailers
    LT_BODY_BAD,  // b->reason says why
};

struct lt_body {
    enum lt_body_kind kind;
    uint64_t left;              // LENGTH: of the body; CHUNKED: of the current chunk
    int state;                  // of the chunk decoder (private)
    unsigned digits, extension; // private
    enum lt_h1_reason reason;
    struct lt_buf line;         // private: a trailer section being collected (maximum 8 KB); freed by lt_body_fini
    struct lt_arena *arena;     // trailers are parsed into it
    struct lt_headers trailers; // fields that may stand in a trailer; framing, routing and auth fields are dropped
                                // (RFC 9110 section 6.5.1: Content-Length, Transfer-Encoding, Host, Cookie, Set-Cookie,
                                // Authorization, Content-Type, Content-Encoding, Trailer, Connection, Expect, …)
};

void lt_body_init(struct lt_body *b, const struct lt_framing *f, struct lt_arena *arena);
void lt_body_fini(struct lt_body *b);

// Takes bytes off the front of *in. Call until it says MORE, END or BAD. After END nothing more is taken.
// A body of kind NONE is at END at once; of kind CLOSE it never ends here: the caller sees the end of the connection.
enum lt_body_status lt_body_read(struct lt_body *b, struct lt_span *in, struct lt_span *data);

// The end of a body of kind CLOSE whose end was told otherwise.
void lt_body_close(struct lt_body *b);

// One field of a trailer section, without its line end, as if it had been read behind a chunked body. False: malformed, or no memory.
bool lt_body_trailer(struct lt_body *b, struct lt_span line) __attribute__((warn_unused_result));

// Is the message over? (true for NONE at once)
bool lt_body_done(const struct lt_body *b);
