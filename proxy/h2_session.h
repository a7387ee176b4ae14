// SPDX-License-Identifier: Apache-2.0
// What h2.c (the connection), h2_stream.c (a stream and its request) and h2_answer.c share.
#pragma once

#include "h2.h"

#include <nghttp2/nghttp2.h>
#include <stdlib.h>

enum {
    LT_H2_STREAMS = 100,
    LT_H2_STREAM_WINDOW = 65535,
    LT_H2_CONNECTION_WINDOW = 1 << 20,
};

// In the order in which it comes to its end (RFC 9113 section 6.8).
enum lt_h2_state {
    LT_H2_OPEN,
    LT_H2_NOTICED, // told that it will end; all that is on its way is still welcome
    LT_H2_LEAVING, // the last stream is named; ends with it
    LT_H2_FAILED,  // no more is read
};

struct lt_h2 {
    struct lt_client *client; // whose connection it is
    nghttp2_session *session;
    struct lt_list streams;
    unsigned n_streams; // known to nghttp2 or to an exchange
    bool in_head;       // a header block is under way
    struct lt_task flush;
    enum lt_h2_state state;
    // Frames that cost us more than their sender: a bucket that fills with time. In thousandths of a frame.
    int64_t credit, credited_at;
};

enum lt_h2_pseudo { LT_H2_METHOD, LT_H2_SCHEME, LT_H2_AUTHORITY, LT_H2_PATH, LT_H2_PROTOCOL, LT_H2_PSEUDOS };

struct lt_h2_stream {
    struct lt_virtual virtual;
    struct lt_h2 *h2;
    struct lt_list node;
    int32_t id;
    struct lt_client *client; // NULL: none yet, or its exchange is over
    // request
    struct lt_buf in; // the head as text, then the body
    size_t head_left; // bytes of `in` that are no body
    struct lt_buf fields, trailers_in;
    struct {
        bool set;
        size_t at, n; // in `pseudo`
    } pseudos[LT_H2_PSEUDOS];
    struct lt_buf pseudo, cookies;
    bool empty; // content-length: 0, so the request begins when its end has come: a body would be malformed
    bool too_large, in_trailers, begun;
    bool has_host; // one that says what :authority says
    bool ended;    // END_STREAM came
    bool has_body; // it did not come with the head
    char key[25];  // Sec-WebSocket-Key
    // answer
    struct lt_h2_fields *head, *trailers; // not submitted yet
    bool head_is_all;                     // no body follows
    bool submitted, trailers_due;
    bool finished;     // all is written
    struct lt_buf out; // once the client has gone on: what is still to be sent
    uint32_t moved;    // bytes that nghttp2 has taken
    uint32_t moved_seen;
    struct lt_timer timer; // of an answer that is not taken
    bool closed;           // nghttp2 has closed it
    bool given_up;         // by us, and not for an error of its sender's
    bool wants_drained;
    struct lt_task tell;
};

// Fields in nghttp2's form, with their memory.
struct lt_h2_fields {
    size_t n;
    nghttp2_nv nv[];
};

// For a HEADERS frame that begins a request. NULL: no memory.
struct lt_h2_stream *lt_h2_stream_new(struct lt_h2 *h, int32_t id);
void lt_h2_stream_free(struct lt_h2_stream *s);

// One field of a head or of trailers. False: the request is malformed.
bool lt_h2_stream_field(struct lt_h2_stream *s, struct lt_span name, struct lt_span value);
// The head is whole: an exchange begins at the end of the turn. False: malformed, or no memory.
bool lt_h2_stream_begin(struct lt_h2_stream *s);
// END_STREAM came. False: as lt_h2_stream_begin().
bool lt_h2_stream_ended(struct lt_h2_stream *s);
bool lt_h2_stream_data(struct lt_h2_stream *s, struct lt_span data);
// nghttp2 has closed it. May free it.
void lt_h2_stream_closed(struct lt_h2_stream *s);

// --- h2_answer.c ---

// The answer's head goes to nghttp2; the body follows from lt_h2_out().
void lt_h2_submit_head(struct lt_h2_stream *s);

// Something is to be sent: at the end of the turn.
void lt_h2_flush_soon(struct lt_h2 *h);
// RST_STREAM.
void lt_h2_reset(struct lt_h2_stream *s, uint32_t code);
// A stream is gone.
void lt_h2_forget(struct lt_h2 *h);

// --- between the three files ---

static inline struct lt_h2_stream *lt_h2_stream_of(const struct lt_client *c) {
    return LT_ENTRY(c->stream.virtual, struct lt_h2_stream, virtual);
}

static inline struct lt_worker *lt_h2_worker(const struct lt_h2_stream *s) {
    return s->h2->client->worker;
}

static inline const struct lt_core_conf *lt_h2_conf(const struct lt_h2_stream *s) {
    return &lt_h2_worker(s)->generation->snapshot->core;
}

// The stream is looked at when whoever calls has returned.
static inline void lt_h2_tell_soon(struct lt_h2_stream *s) {
    lt_loop_defer(&lt_h2_worker(s)->loop, &s->tell);
}

// What is still to be sent of the body.
static inline struct lt_buf *lt_h2_out(struct lt_h2_stream *s) {
    return s->client ? &s->client->stream.out : &s->out;
}

static inline void lt_h2_fields_free(struct lt_h2_fields **f) {
    free(*f);
    *f = NULL;
}
