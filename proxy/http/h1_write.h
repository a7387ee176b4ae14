// SPDX-License-Identifier: Apache-2.0
// Writes heads anew from the parse: what lethe understood is what the next hop reads.
// Neighbouring untouched lines are copied as one run.
#pragma once

#include "base/buf.h"
#include "http/framing.h"

// How the body behind the head is framed on the way out.
struct lt_h1_out {
    enum lt_body_kind kind; // NONE writes no length (requests, 1xx, 204, 304), except that a request with a method that has a
                            // meaning for a body (POST, PUT, PATCH) gets "Content-Length: 0"
    uint64_t length;        // LT_BODY_LENGTH (0 is written as such)
    bool close;             // adds "Connection: close"
    bool keep_alive;        // adds "Connection: keep-alive" (to an HTTP/1.0 peer)
    bool trailers;          // request: adds "TE: trailers" and names it in Connection (RFC 9110 section 10.1.4)
    struct lt_span upgrade; // not empty: "Connection: upgrade" and "Upgrade: <this>"
    bool head_length; // answer to HEAD or a 304: the fields say the length of the body that is not sent: kind and length
                      // are written although no body follows
};

// "METHOD path HTTP/1.1", Host first (from head->host), then all fields that are not dropped, then framing. Appends to `out`.
// False: over its maximum or no memory.
bool lt_h1_write_request(struct lt_buf *out, const struct lt_h1_head *head, const struct lt_h1_out *how)
    __attribute__((warn_unused_result));

// "HTTP/1.1 status reason", the fields, the framing. Appends to `out`.
bool lt_h1_write_response(struct lt_buf *out, const struct lt_h1_head *head, const struct lt_h1_out *how)
    __attribute__((warn_unused_result));

// The frame around one slice of a chunked body: "1f4\r\n" into `out` (at least 20 bytes), its length is returned.
size_t lt_h1_chunk_head(char *out, uint64_t length);

// The last chunk with the trailers: "0\r\n", fields, "\r\n".
bool lt_h1_write_last_chunk(struct lt_buf *out, const struct lt_headers *trailers) __attribute__((warn_unused_result));

// The standard reason phrase of a status ("Bad Gateway"); "" when there is none.
struct lt_span lt_http_reason(int status);
