// SPDX-License-Identifier: Apache-2.0
// A non-blocking connected socket. Reads when told there is something; writes at once and waits for writability only
// after the kernel's buffer was full (DESIGN section 7: one recv and one writev a direction, no epoll_ctl churn). With TLS
// (lt_stream_secure) everything is the same for its owner, but that `sent` counts bytes before encryption.
#pragma once

#include "base/buf.h"
#include "net/address.h"
#include "net/loop.h"
#include "net/pipe.h"
#include "net/tls.h"
#include "net/tls_server.h"

#include <sys/uio.h>

struct lt_stream;
struct lt_secure; // what a stream with TLS has beside

// A stream that is no socket: an HTTP/2 stream, for one. What is written to it collects in `out`; all of these are called by stream.c.
struct lt_virtual_ops {
    enum lt_err (*read)(struct lt_stream *s, void *into, size_t size, size_t *got); // as lt_stream_read()
    void (*changed)(struct lt_stream *s);  // something was written or uncorked, or reading is wanted
    void (*shutdown)(struct lt_stream *s); // nothing more will be written
    void (*closed)(struct lt_stream *s);
};
struct lt_virtual {
    const struct lt_virtual_ops *ops;
};

// What a stream has beside that could not send all at once.
struct lt_behind {
    struct event write_event;
    struct lt_pipe *pipe; // of a body that is spliced: it goes before `out`; NULL: none
};

struct lt_stream_ops {
    // There is something to read, or the peer ended or broke the connection: lt_stream_read() tells.
    void (*readable)(struct lt_stream *s);
    // All that was queued has been sent (called only after a write could not be finished at once).
    void (*drained)(struct lt_stream *s);
    // Sending failed while it was going on in the background. The stream stays open until the owner closes it.
    void (*broken)(struct lt_stream *s, enum lt_err e);
};

struct lt_stream {
    struct lt_loop *loop;
    const struct lt_stream_ops *ops;
    int fd;                // -1: closed
    bool reading, writing; // events registered
    bool corked;           // writes are only collected
    struct event read_event;
    struct lt_behind *behind;   // made when the first write cannot be finished at once
    struct lt_buf out;          // what the kernel has not taken yet
    uint32_t sent;              // bytes that it has taken; they may wrap round
    uint32_t taken;             // bytes that the peer had acknowledged at the last lt_stream_still_takes()
    struct lt_virtual *virtual; // NULL: a socket
    struct lt_secure *secure;   // NULL: plain
};

// Takes over `fd` (non-blocking, connected or connecting). Nothing is read before lt_stream_want_read().
// `out_max`: the most bytes that may wait to be sent.
void lt_stream_open(struct lt_stream *s, struct lt_loop *loop, int fd, const struct lt_stream_ops *ops, size_t out_max);

// The same for one that is no socket. Nothing of it may be spliced.
void lt_stream_open_virtual(struct lt_stream *s, struct lt_loop *loop, struct lt_virtual *v,
                            const struct lt_stream_ops *ops, size_t out_max);

// Drops what was not sent and closes the socket. May be called from any of the ops. A second call does nothing.
void lt_stream_close(struct lt_stream *s);

// Begins or ends being told of input. Cheap when nothing changes.
void lt_stream_want_read(struct lt_stream *s, bool want);

// One recv. LT_OK with *got > 0, or *got == 0 when there is nothing now; LT_ERR_CLOSED at the peer's end; else the failure.
enum lt_err lt_stream_read(struct lt_stream *s, void *into, size_t size, size_t *got) __attribute__((warn_unused_result));

// One recv of what nobody wants, not even decrypted. LT_ERR_CLOSED at the peer's end.
enum lt_err lt_stream_discard(struct lt_stream *s, size_t *got) __attribute__((warn_unused_result));

// Is there anything to read, be it the peer's end? Asks the kernel.
bool lt_stream_has_input(const struct lt_stream *s);

// Sends what it can at once and keeps a copy of the rest. LT_ERR_LIMIT: the rest is over out_max (nothing of this call is
// kept; the connection must be closed); other errors: the connection is broken. At most 8 pieces.
enum lt_err lt_stream_write(struct lt_stream *s, const struct lt_span *pieces, unsigned n)
    __attribute__((warn_unused_result));

static inline size_t lt_stream_pending(const struct lt_stream *s) {
    return s->out.len + (s->behind && s->behind->pipe ? s->behind->pipe->held : 0);
}

// Moves up to `max` bytes from one plain stream to another that has nothing pending, inside the kernel. LT_OK: *got were taken off `from` (0:
// there is nothing now); what `to` does not take now is pending there, and a broken `to` tells by its ops. LT_ERR_CLOSED: `from` has
// ended. LT_ERR_LIMIT: it cannot be done here (no pipe): read and write instead. Else what `from` failed with.
enum lt_err lt_stream_splice(struct lt_stream *from, struct lt_stream *to, size_t max, size_t *got)
    __attribute__((warn_unused_result));

// Has the peer taken any byte since the last call? A slow reader is no silent one.
bool lt_stream_still_takes(struct lt_stream *s);

// Has the peer acknowledged (of a unix socket: read) all that was ever written?
bool lt_stream_took_all(const struct lt_stream *s);

// A corked stream collects (up to out_max); uncorking sends. Errors as for lt_stream_write.
static inline void lt_stream_cork(struct lt_stream *s) {
    s->corked = true;
}
enum lt_err lt_stream_uncork(struct lt_stream *s) __attribute__((warn_unused_result));

// Ends the sending side (shutdown); what is queued must have been sent.
void lt_stream_shutdown(struct lt_stream *s);

// A socket that begins to connect to `a`. -1 with *e set when that fails at once. Its stream becomes writable when it is
// decided: see lt_stream_connected().
int lt_connect_begin(const struct lt_address *a, enum lt_err *e);

// After `drained` of a connecting stream (lt_stream_await_connect): how it went.
enum lt_err lt_stream_connected(struct lt_stream *s);

// Asks for `drained` once the connection is decided.
void lt_stream_await_connect(struct lt_stream *s);

// From here on the connected stream speaks TLS, as a client that expects `name` (see lt_tls_client); before the first read or write,
// and with lt_stream_want_read() on until the first write is through. False: no memory.
bool lt_stream_secure(struct lt_stream *s, struct lt_tls_context *c, struct lt_span name);

// The same as a server, with the certificates of `server`. lt_stream_handshake() is due before anything else is read or written.
bool lt_stream_accept_secure(struct lt_stream *s, struct lt_tls_server *server);

// Carries the handshake on; called first at once, then from `readable`, until *done. With an error the connection is to be closed.
enum lt_err lt_stream_handshake(struct lt_stream *s, bool *done) __attribute__((warn_unused_result));

// See lt_tls_alpn(), lt_tls_resumed(), lt_tls_subject(). Of a plain stream: empty, false.
struct lt_span lt_stream_alpn(const struct lt_stream *s);
bool lt_stream_resumed(const struct lt_stream *s);
struct lt_span lt_stream_subject(const struct lt_stream *s);

// The next lt_stream_close() breaks the connection off (RST, and no goodbye of TLS), so that an unfinished message cannot be taken for a
// finished one.
void lt_stream_spoil(struct lt_stream *s);

// Why TLS failed (lt_tls_why); else "". Valid until lt_stream_close().
const char *lt_stream_why(const struct lt_stream *s);
