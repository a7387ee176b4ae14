// SPDX-License-Identifier: Apache-2.0
// One request and its answer. Everything that belongs to it lives in its arena and dies with it.
//
//   HEAD ─▶ REQUEST_HOOKS ─▶ CONNECT ─▶ FORWARD ─▶ RESPONSE_HOOKS ─▶ RESPOND ─▶ END_HOOKS ─▶ DONE
//                 │             │          │ └──▶ TUNNEL ─────────────────────────────┐       ▲
//                 ├─ EVENTS ────┼──────────┼──────────────────────────────────────────┤       │
//                 └─ reply ─────┴─ failed ─┴─▶ (END_HOOKS if a module must finish) ────┴───────┘
#pragma once

#include "client.h"
#include "http/h1_body.h"
#include "http/h1_write.h"
#include "http/trace.h"
#include "upstream.h"

#include <stdalign.h>

enum lt_exchange_state {
    LT_X_HEAD,           // the head is being read
    LT_X_REQUEST_HOOKS,  // modules look at the request
    LT_X_CONNECT,        // waiting for an upstream connection
    LT_X_FORWARD,        // the request goes out, the answer's head is awaited
    LT_X_RESPONSE_HOOKS, // modules look at the answer's head
    LT_X_RESPOND,        // the answer's body goes to the client
    LT_X_END_HOOKS,      // the upstream's last byte is in; modules commit
    LT_X_TUNNEL,         // bytes both ways
    LT_X_EVENTS,         // lethe's own answer goes out piece by piece
    LT_X_DONE,
};

enum lt_outcome {
    LT_OUTCOME_OK,
    LT_OUTCOME_LOCAL,
    LT_OUTCOME_REJECTED,
    LT_OUTCOME_UPSTREAM_FAILED,
    LT_OUTCOME_STORE_FAILED,
    LT_OUTCOME_ABORTED
};

// Where the pipeline stands: its whole state.
struct lt_pipeline {
    enum lt_hook_kind { LT_HOOK_REQUEST, LT_HOOK_RESPONSE, LT_HOOK_END } kind;
    unsigned index; // the module that runs or waits
    bool running;   // between begin and the last verdict
    struct lt_timer sleep;
};

// Pieces collected for one sendmsg.
struct lt_gather {
    struct lt_span v[8];
    unsigned n;
    char chunk_head[2][24];
    unsigned chunks;
};

struct lt_exchange {
    alignas(max_align_t) struct lt_block *block; // where it stands, with the beginning of its arena behind it
    struct lt_arena arena;
    enum lt_exchange_state state;
    struct lt_worker *worker;
    struct lt_generation *generation;
    struct lt_client *client; // NULL once the client is gone and the exchange goes on to its end alone
    struct lt_upstream *upstream;
    struct lt_upstream_wish wish;
    // The heads' memory, once the connections that brought them are gone or have gone on.
    struct lt_block *request_block, *response_block;

    // request
    struct lt_h1_parser parser;
    struct lt_h1_head request;
    struct lt_framing request_framing;
    struct lt_body request_body;
    bool head_sent, request_sent, body_touched; // body_touched: some of it went upstream: no retry
    bool trusted, https;

    // response
    struct lt_h1_parser response_parser;
    struct lt_h1_head response;
    struct lt_framing response_framing;
    struct lt_body response_body;
    bool response_started; // its head was parsed
    bool head_released;    // the head has been given to the client's stream
    bool upstream_ended;   // the answer's last byte is in
    bool answered;         // the whole answer is in, or a tunnel was made
    enum lt_body_kind out; // how the body is framed to the client
    bool keep;             // the client's connection lives on
    char tail;             // hold: the last byte of a body of known length
    bool has_tail, hold, must_finish, ended_hooks;
    bool was_answered; // an interim answer came
    bool replied;      // lethe answered itself
    bool client_broken;

    struct lt_call *calls;          // one a module instance
    struct lt_events *events;       // EVENTS: the stream of a module's own; else NULL
    struct lt_websocket *websocket; // TUNNEL: what is known of its frames; NULL: another protocol
    struct lt_collect *collect;     // a module reads the body; NULL: it goes upstream
    struct lt_headers *reply_extra; // fields for an answer of our own; NULL: none
    struct lt_pipeline pipeline;
    struct lt_session *session;
    struct lt_timer timer; // silence of the upstream or the client
    struct lt_task free_later;

    // for the log
    struct lt_span id;
    char trace[LT_TRACE_ID + 1]; // of a valid traceparent; "": none
    struct lt_ip peer;           // the client, also when it is gone
    struct lt_span subject;      // of its certificate, or empty
    int64_t began, sent_at, first_byte, active;
    uint64_t bytes;
    int status;
    enum lt_outcome outcome;
    const char *reason; // of an error of our own; NULL: none
};

// A block of worker.exchanges: nearly every exchange does with it.
enum { LT_EXCHANGE_BLOCK = 12 << 10 };

// For the client's first byte of a request. NULL: no memory.
struct lt_exchange *lt_exchange_new(struct lt_client *c);

// The client has sent something: parses, or relays. Called while the client is in HEAD, EXCHANGE or TUNNEL.
void lt_exchange_client_data(struct lt_exchange *x);

// The client's stream took what it was given.
void lt_exchange_client_drained(struct lt_exchange *x);

// The client is gone or took too long; the exchange lets go of it.
void lt_exchange_client_gone(struct lt_exchange *x);

// The drain's time is up: the client is broken off, modules that must finish (a lock is held) end now, whatever the application does.
void lt_exchange_cut(struct lt_exchange *x);

// The client's patience with us or ours with it ran out while in the HEAD.
void lt_exchange_head_timeout(struct lt_exchange *x);

// From the upstream's stream.
void lt_exchange_upstream_data(struct lt_exchange *x);
void lt_exchange_upstream_drained(struct lt_exchange *x);
void lt_exchange_upstream_failed(struct lt_exchange *x, enum lt_err e);

// From the pipeline: all hooks of a kind said NEXT.
void lt_exchange_hooks_done(struct lt_exchange *x, enum lt_hook_kind kind);

// --- between the exchange's own files ---

void lt_exchange_set_state(struct lt_exchange *x, enum lt_exchange_state next);
// Ends it: upstream released (`upstream_keep`), on_end hooks if a module must finish, then done. Safe to call twice.
void lt_exchange_finish(struct lt_exchange *x);
// What a head may have: a reload cannot make the worker's blocks larger.
size_t lt_exchange_head_limit(struct lt_exchange *x);

// The answer cannot be finished. With the head already out the client must see a broken connection; before that, an error.
void lt_exchange_fail(struct lt_exchange *x, int status, const char *reason);

// Gives the upstream connection back; the answer's head stays.
void lt_exchange_give_upstream(struct lt_exchange *x, bool keep);

// Both directions of the body (relay.c).
void lt_relay_request(struct lt_exchange *x);
// Reads what the client (the upstream) has sent: into its inbox, or, the middle of a large body, straight to the other side. As
// lt_inbox_read(); lt_relay_request() (lt_relay_response()) is then due in both cases.
enum lt_err lt_relay_receive_request(struct lt_exchange *x, size_t *got) __attribute__((warn_unused_result));
enum lt_err lt_relay_receive_response(struct lt_exchange *x, size_t *got) __attribute__((warn_unused_result));
void lt_relay_response(struct lt_exchange *x);
// The head goes out with what there is of the body.
bool lt_relay_release_head(struct lt_exchange *x);
// on_end has said NEXT: what was held back goes out.
void lt_relay_release_tail(struct lt_exchange *x);
bool lt_gather_send(struct lt_gather *g, struct lt_stream *s);

// pipeline.c
bool lt_pipeline_init(struct lt_exchange *x);
void lt_pipeline_run(struct lt_exchange *x, enum lt_hook_kind kind);
void lt_pipeline_cancel(struct lt_exchange *x); // what waits is cancelled
void lt_pipeline_done(struct lt_exchange *x);   // on_done of all that were touched

// forward.c: the fields that lethe adds to a request and a response. False: no memory.
bool lt_forward_request(struct lt_exchange *x);
bool lt_forward_response(struct lt_exchange *x);
void lt_forward_identify(struct lt_exchange *x); // trusted? https? which request id? whose certificate?
// Drops what an application could take for our word on the client's certificate: fields of a head, or of trailers.
void lt_forward_unforge(struct lt_exchange *x, struct lt_headers *h);

// reply.c: an answer of our own. The head must not have been released. `body` NULL: a line made of status and reason.
void lt_reply(struct lt_exchange *x, int status, const char *reason, const char *type, struct lt_span body, bool close);

// reply.c: the head of an answer whose body follows in pieces. False: the client is gone, or no memory.
bool lt_reply_open(struct lt_exchange *x, const char *type, enum lt_body_kind kind);

// events.c: the client has sent something, or ended its side, which ends the stream; the exchange is over.
void lt_events_client_data(struct lt_exchange *x);
void lt_events_end(struct lt_exchange *x);

// collect.c: what the client has sent goes into the module's buffer.
void lt_collect_pump(struct lt_exchange *x);

// tunnel.c
void lt_tunnel_begin(struct lt_exchange *x);
void lt_tunnel_move(struct lt_exchange *x);
// The process goes: a WebSocket is told so in both directions (close frame 1001) as soon as each stands between frames, and ends. Of
// another protocol nothing is known: it goes on until the drain's limit.
void lt_tunnel_drain(struct lt_exchange *x);
void lt_tunnel_end(struct lt_exchange *x); // what the tunnel has set is taken back; the exchange is over

// access.c: counters and the log line.
void lt_access_record(struct lt_exchange *x);
void lt_access_flush(struct lt_task *t); // a worker's access_flush
void lt_access_open(void);               // once, before the workers; and after them
void lt_access_close(void);
