// SPDX-License-Identifier: Apache-2.0
// HTTP/2 on a client's connection (RFC 9113; nghttp2 does frames, HPACK and the state of streams).
//
//   connection ── client.c, state H2 ── h2.c: session ──┬── h2_stream.c ── client.c ── exchange.c …
//                                                       └── h2_stream.c ── client.c ── exchange.c …
//
// A stream's request is written as the HTTP/1.1 head that it means and read by the one strict parser, as a client of its own whose
// lt_stream is no socket (lt_virtual): exchanges, the pipeline and the modules do not know which version they serve. The answer goes
// from the exchange's head to HPACK directly. Flow control follows the exchange: what it has not read opens no window, what it has
// written and the client does not take stops the upstream.
//
// Everything that an exchange may do is called from tasks, never from inside nghttp2.
#pragma once

#include "client.h"
#include "http/h1_body.h"
#include "http/h1_write.h"

#define LT_H2_PREFACE "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

struct lt_h2;

// The client's connection speaks HTTP/2 from here on; its inbox holds the preface and what came behind. NULL: no memory.
struct lt_h2 *lt_h2_new(struct lt_client *c);
// The connection is closed; what its streams were doing is cancelled.
void lt_h2_free(struct lt_h2 *h);

// What client.c is told of the connection. They may close it.
void lt_h2_readable(struct lt_h2 *h);
void lt_h2_drained(struct lt_h2 *h);
void lt_h2_timeout(struct lt_h2 *h);
// As lt_client_drain(): no new streams; those under way go on, WebSockets are told, and the connection ends with the last of them.
void lt_h2_drain(struct lt_h2 *h);
// As lt_client_cut(): what runs on its streams ends now.
void lt_h2_cut(struct lt_h2 *h);

// --- for an exchange whose client is a stream (c->stream.virtual) ---

// The answer's head, sent when the stream is not corked; a second call replaces what has not been sent. False: no memory, or
// !lt_h2_takes().
bool lt_h2_head(struct lt_client *c, const struct lt_h1_head *head, const struct lt_h1_out *how)
    __attribute__((warn_unused_result));
// An interim answer (1xx but 101), sent at once.
bool lt_h2_interim(struct lt_client *c, const struct lt_h1_head *head) __attribute__((warn_unused_result));
// Fields behind the answer's body. False: no memory.
bool lt_h2_trailers(struct lt_client *c, const struct lt_headers *trailers) __attribute__((warn_unused_result));
// The answer is whole: what is written still goes out.
void lt_h2_finish(struct lt_client *c);
// Whose stream it is.
const struct lt_client *lt_h2_connection(const struct lt_client *c);
// Does a body follow the request's head?
bool lt_h2_has_body(const struct lt_client *c);
// Hands the request's trailers to `b`. False: malformed, or no memory.
bool lt_h2_request_trailers(struct lt_client *c, struct lt_body *b) __attribute__((warn_unused_result));
// May the stream be answered so? Behind an extended CONNECT (RFC 8441) a success means that the WebSocket stands.
bool lt_h2_takes(const struct lt_client *c, const struct lt_h1_head *head);
