// SPDX-License-Identifier: Apache-2.0
// A client's connection: waits for a head, hands it to an exchange, and goes on with the next.
#pragma once

#include "http/h1_write.h"
#include "inbox.h"
#include "worker.h"

enum lt_client_state {
    LT_CLIENT_PROXY,    // a PROXY protocol header must come first
    LT_CLIENT_TLS,      // in the handshake
    LT_CLIENT_IDLE,     // between requests; holds no buffer
    LT_CLIENT_HEAD,     // bytes of a head have come
    LT_CLIENT_EXCHANGE, // the exchange reads and writes
    LT_CLIENT_TUNNEL,   // switched protocols; the exchange relays bytes
    LT_CLIENT_H2,       // HTTP/2: each of its streams is a client of its own (h2.h)
    LT_CLIENT_LINGER, // all is sent; what still comes is thrown away until the peer ends, so that it can read our answer
    LT_CLIENT_CLOSED,
};

struct lt_client {
    struct lt_stream stream;
    struct lt_list node;
    struct lt_worker *worker;
    struct lt_inbox in;
    struct lt_timer timer;
    struct lt_task later;  // parses what came behind the last request; frees, once it is closed
    struct lt_exchange *x; // IDLE, PROXY, TLS, LINGER: NULL
    struct lt_h2 *h2;      // H2
    enum lt_client_state state;
    bool tls;          // its listener's clients speak TLS
    bool ended;        // the client ended its side
    bool used;         // it has carried a request
    unsigned lingered; // bytes thrown away
    struct lt_ip peer; // as a PROXY header names it, where there is one
};

// Takes over an accepted socket, of a listener whose connections begin with a PROXY header, with TLS.
void lt_client_new(struct lt_worker *w, int fd, struct lt_ip peer, bool proxy_header, bool tls);

// A stream of an HTTP/2 connection, as a client of its own. NULL: no memory.
struct lt_client *lt_client_new_virtual(struct lt_worker *w, struct lt_virtual *v, const struct lt_client *connection);

// A stream of an HTTP/2 connection? NULL is none.
static inline bool lt_client_is_h2(const struct lt_client *c) {
    return c && c->stream.virtual;
}

// An answer's head in the client's version: into `out`, which goes to the stream before the body, or kept by the stream itself, which
// leaves `out` as it is. False: no memory.
bool lt_client_head(struct lt_client *c, struct lt_buf *out, const struct lt_h1_head *head, const struct lt_h1_out *how)
    __attribute__((warn_unused_result));

// The HTTP/2 connection is over: at once, or (`politely`) when the peer has read what it was sent.
void lt_client_end(struct lt_client *c, bool politely);

// Called by the exchange when it is over. `keep`: the connection can carry another request. `last`: the client said that it sends nothing more.
void lt_client_exchange_done(struct lt_client *c, bool keep, bool last);

// Breaks the connection off (RST), so that an unfinished answer cannot be taken for a finished one. The exchange, if there is one, must have
// let go of the client before.
void lt_client_abort(struct lt_client *c);

// Ends it whatever it does. For the end of a worker.
void lt_client_close(struct lt_client *c);

// Ends it when the drain's time is up: a running exchange ends now.
void lt_client_cut(struct lt_client *c);

// Called twice for each connection that there is. When the drain begins (LT_WORKER_DRAINS): tells the client that no further request will
// be taken, if its protocol can say so without an answer. When it is quiet (LT_WORKER_CLOSES): takes a request that stands in the socket;
// without one it is closed if it is idle. One that has carried none yet has another quiet period for its first.
void lt_client_drain(struct lt_client *c);
