// SPDX-License-Identifier: Apache-2.0
// Decides a message's body length, once (RFC 9112 section 6), and owns the headers that say it:
// Content-Length, Transfer-Encoding, Connection and the other hop-by-hop fields.
#pragma once

#include "http/h1_parse.h"

enum lt_body_kind { LT_BODY_NONE, LT_BODY_LENGTH, LT_BODY_CHUNKED, LT_BODY_CLOSE };

struct lt_framing {
    enum lt_body_kind kind;
    uint64_t length;      // LT_BODY_LENGTH: what is left at the start (> 0); for HEAD and 304 the kind is NONE
    bool keep_alive;      // the sender lets this connection live on after the message
    bool last;            // request: says "Connection: close" and has no body: nothing follows (RFC 9112 section 9.6)
    bool trailers;        // request: TE: trailers. They are passed on, so the application may be told
    bool expect_continue; // request: Expect: 100-continue
    bool upgrade;         // request: asks to switch (Connection: upgrade and an Upgrade field, HTTP/1.1, no body);
                          // response: 101 with an Upgrade field
    struct lt_span upgrade_protocol;
};

// Reads the framing of a request. LT_H1_OK, or the reason for which it is refused.
enum lt_h1_reason lt_framing_request(const struct lt_h1_head *head, struct lt_framing *f);

// Reads the framing of a response to `method`. LT_H1_OK, or the reason for which the response is malformed (502).
enum lt_h1_reason lt_framing_response(const struct lt_h1_head *head, enum lt_method method, struct lt_framing *f);

// Drops what ends at this hop (RFC 9110 section 7.6.1): Connection, Keep-Alive, Proxy-Connection, TE, Trailer is kept,
// Transfer-Encoding, Upgrade, Proxy-Authenticate/-Authorization are end-to-end here and stay, and each field that Connection
// names, unless it is one that must not be removed that way: Host, Cookie, Set-Cookie, Authorization, Content-Length,
// Content-Type, Content-Encoding, Location, Date, Cache-Control, Expires, Vary, Forwarded, Via, Expect, X-Request-Id, and everything beginning with
// "X-Forwarded-". Also drops Content-Length and Expect: lt_h1_write_* says the length anew.
void lt_framing_strip(struct lt_headers *h);

// Does this answer go on for as long as client and application like: an event stream, an upgraded connection?
bool lt_framing_lasts(const struct lt_h1_head *response);
