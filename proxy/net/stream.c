// SPDX-License-Identifier: Apache-2.0
#include "net/stream.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/sockios.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <unistd.h>

#define UNLIKELY(x) __builtin_expect(!!(x), 0)

struct lt_secure {
    struct lt_tls *tls;
    struct lt_stream *stream;
    struct lt_task again; // input that was received already: no event will tell
    bool handshaking;     // lt_stream_handshake() is under way
};

static void secure_readable(struct lt_stream *s);

static void on_read(evutil_socket_t fd, short what, void *arg) {
    (void)fd;
    (void)what;
    struct lt_stream *s = arg;
    if (UNLIKELY(s->secure != NULL))
        secure_readable(s);
    else
        s->ops->readable(s);
}

static void on_write(evutil_socket_t fd, short what, void *arg);

void lt_stream_open(struct lt_stream *s, struct lt_loop *loop, int fd, const struct lt_stream_ops *ops, size_t out_max) {
    *s = (struct lt_stream){.loop = loop, .ops = ops, .fd = fd};
    lt_buf_init(&s->out, out_max);
    event_assign(&s->read_event, loop->base, fd, EV_READ | EV_PERSIST, on_read, s);
}

// False: no memory.
void lt_stream_open_virtual(struct lt_stream *s, struct lt_loop *loop, struct lt_virtual *v,
                            const struct lt_stream_ops *ops, size_t out_max) {
    *s = (struct lt_stream){.loop = loop, .ops = ops, .fd = -1, .virtual = v};
    lt_buf_init(&s->out, out_max);
}

static bool make_behind(struct lt_stream *s) {
    if (s->behind)
        return true;
    s->behind = malloc(sizeof *s->behind);
    if (!s->behind)
        return false;
    s->behind->pipe = NULL;
    event_assign(&s->behind->write_event, s->loop->base, s->fd, EV_WRITE | EV_PERSIST, on_write, s);
    return true;
}

// False: no memory for the event.
static bool want_write(struct lt_stream *s, bool want) {
    if (s->writing == want)
        return true;
    if (!make_behind(s))
        return false;
    s->writing = want;
    if (want)
        event_add(&s->behind->write_event, NULL);
    else
        event_del(&s->behind->write_event);
    return true;
}

void lt_stream_want_read(struct lt_stream *s, bool want) {
    if (s->reading == want || (s->fd < 0 && !s->virtual))
        return;
    s->reading = want;
    if (UNLIKELY(s->virtual != NULL)) {
        if (want)
            s->virtual->ops->changed(s);
        return;
    }
    if (want)
        event_add(&s->read_event, NULL);
    else
        event_del(&s->read_event);
    if (UNLIKELY(s->secure != NULL) && want && lt_tls_has_more(s->secure->tls))
        lt_loop_defer(s->loop, &s->secure->again);
}

static void close_virtual(struct lt_stream *s) {
    s->reading = false;
    s->virtual->ops->closed(s);
    s->virtual = NULL;
    lt_buf_fini(&s->out);
}

void lt_stream_close(struct lt_stream *s) {
    if (UNLIKELY(s->virtual != NULL))
        close_virtual(s);
    if (s->fd < 0)
        return;
    lt_stream_want_read(s, false);
    want_write(s, false);
    if (s->secure) {
        if (s->out.len)
            lt_tls_mute(s->secure->tls); // what did not go out is missed
        lt_task_cancel(&s->secure->again);
        lt_tls_free(s->secure->tls);
        free(s->secure);
        s->secure = NULL;
    }
    if (s->behind && s->behind->pipe)
        lt_pipe_give(s->loop, s->behind->pipe);
    free(s->behind);
    s->behind = NULL;
    close(s->fd);
    s->fd = -1;
    lt_buf_fini(&s->out);
}

static enum lt_err read_secure(struct lt_stream *s, void *into, size_t size, size_t *got) {
    enum lt_err e = lt_tls_read(s->secure->tls, into, size, got);
    if (*got && lt_tls_has_more(s->secure->tls)) // without any got, what there is is half a record
        lt_loop_defer(s->loop, &s->secure->again);
    return e;
}

static enum lt_err receive(struct lt_stream *s, void *into, size_t size, size_t *got) {
    ssize_t n;
    *got = 0;
    do
        n = recv(s->fd, into, size, 0);
    while (n < 0 && errno == EINTR);
    if (n > 0) {
        *got = (size_t)n;
        return LT_OK;
    }
    if (n == 0)
        return LT_ERR_CLOSED;
    return errno == EAGAIN || errno == EWOULDBLOCK ? LT_OK : lt_err_errno(errno);
}

enum lt_err lt_stream_read(struct lt_stream *s, void *into, size_t size, size_t *got) {
    if (UNLIKELY(s->virtual != NULL))
        return s->virtual->ops->read(s, into, size, got);
    return UNLIKELY(s->secure != NULL) ? read_secure(s, into, size, got) : receive(s, into, size, got);
}

enum lt_err lt_stream_discard(struct lt_stream *s, size_t *got) {
    char waste[8192];
    return receive(s, waste, sizeof waste, got);
}

bool lt_stream_has_input(const struct lt_stream *s) {
    char byte;
    if (UNLIKELY(s->secure != NULL) && lt_tls_has_more(s->secure->tls))
        return true;
    return recv(s->fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) >= 0 || (errno != EAGAIN && errno != EWOULDBLOCK);
}

static enum lt_err flush_secure(struct lt_stream *s) {
    size_t sent = 1;
    while (s->out.len && sent) {
        enum lt_err e = lt_tls_write(s->secure->tls, lt_buf_span(&s->out), &sent);
        if (e != LT_OK)
            return e;
        s->sent += (uint32_t)sent;
        lt_buf_consume(&s->out, sent);
    }
    if (s->out.len == 0)
        lt_buf_fini(&s->out);
    // in a handshake the socket is writable all the time, and it is input that is missing
    bool wants = s->out.len && !lt_tls_waits_for_input(s->secure->tls);
    return want_write(s, wants) ? LT_OK : LT_ERR_MEMORY;
}

// From the pipe into the socket; the empty pipe is given back.
static enum lt_err flush_pipe(struct lt_stream *s) {
    struct lt_pipe *p = s->behind->pipe;
    while (p->held) {
        ssize_t n = splice(p->out, NULL, s->fd, NULL, p->held, SPLICE_F_MOVE | SPLICE_F_NONBLOCK);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return errno == EAGAIN ? LT_OK : lt_err_errno(errno);
        p->held -= (size_t)n;
        s->sent += (uint32_t)n;
    }
    s->behind->pipe = NULL;
    lt_pipe_give(s->loop, p);
    return LT_OK;
}

enum lt_err lt_stream_splice(struct lt_stream *from, struct lt_stream *to, size_t max, size_t *got) {
    struct lt_pipe *p = make_behind(to) ? lt_pipe_take(to->loop) : NULL;
    ssize_t n;
    *got = 0;
    if (!p)
        return LT_ERR_LIMIT;
    do
        n = splice(from->fd, NULL, p->in, NULL, max, SPLICE_F_MOVE | SPLICE_F_NONBLOCK);
    while (n < 0 && errno == EINTR);
    if (n > 0) {
        *got = p->held = (size_t)n;
        to->behind->pipe = p;
        if (flush_pipe(to) != LT_OK || to->behind->pipe)
            want_write(to, true); // what is wrong with it, the event will tell
        return LT_OK;
    }
    int why = errno;
    lt_pipe_give(to->loop, p);
    if (n == 0)
        return LT_ERR_CLOSED;
    return why == EAGAIN ? LT_OK : why == EINVAL ? LT_ERR_LIMIT : lt_err_errno(why);
}

// Sends what is queued. LT_OK: sent, or as much as the kernel takes now.
static enum lt_err flush(struct lt_stream *s) {
    if (UNLIKELY(s->secure != NULL))
        return flush_secure(s);
    if (s->behind && s->behind->pipe) {
        enum lt_err e = flush_pipe(s);
        if (e != LT_OK || s->behind->pipe)
            return e;
    }
    while (s->out.len) {
        struct lt_span left = lt_buf_span(&s->out);
        ssize_t n = send(s->fd, left.p, left.n, MSG_NOSIGNAL);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return errno == EAGAIN || errno == EWOULDBLOCK ? LT_OK : lt_err_errno(errno);
        s->sent += (uint32_t)n;
        lt_buf_consume(&s->out, (size_t)n);
    }
    lt_buf_fini(&s->out); // given back: a connection that idles holds no buffer
    return LT_OK;
}

static void on_write(evutil_socket_t fd, short what, void *arg) {
    (void)fd;
    (void)what;
    struct lt_stream *s = arg;
    if (UNLIKELY(s->secure != NULL) && s->secure->handshaking) {
        want_write(s, false);
        s->ops->readable(s);
        return;
    }
    enum lt_err e = flush(s);
    if (e != LT_OK) {
        want_write(s, false);
        s->ops->broken(s, e);
    } else if (lt_stream_pending(s) == 0) {
        want_write(s, false);
        s->ops->drained(s);
    }
}

// Input may be what a write waits for.
static void secure_readable(struct lt_stream *s) {
    if (s->out.len && lt_tls_waits_for_input(s->secure->tls)) {
        enum lt_err e = flush_secure(s);
        if (e != LT_OK) {
            s->ops->broken(s, e);
            return;
        }
        if (s->out.len == 0) {
            lt_loop_defer(s->loop, &s->secure->again);
            s->ops->drained(s); // which may close the stream: what there is to read waits for the end of the turn
            return;
        }
    }
    s->ops->readable(s);
}

static void on_again(struct lt_task *t) {
    struct lt_stream *s = LT_ENTRY(t, struct lt_secure, again)->stream;
    if (s->reading)
        s->ops->readable(s);
}

static enum lt_err write_virtual(struct lt_stream *s, const struct lt_span *pieces, unsigned n) {
    for (unsigned i = 0; i < n; i++)
        if (!lt_buf_append(&s->out, pieces[i]))
            return LT_ERR_LIMIT;
    if (!s->corked)
        s->virtual->ops->changed(s);
    return LT_OK;
}

// Keeps what of the pieces is behind the first `sent` bytes.
static enum lt_err keep(struct lt_stream *s, const struct lt_span *pieces, unsigned n, size_t sent) {
    for (unsigned i = 0; i < n; i++) {
        size_t skip = sent < pieces[i].n ? sent : pieces[i].n;
        sent -= skip;
        if (!lt_buf_append(&s->out, lt_span(pieces[i].p + skip, pieces[i].n - skip)))
            return LT_ERR_LIMIT;
    }
    return s->out.len == 0 || s->corked || want_write(s, true) ? LT_OK : LT_ERR_MEMORY;
}

static enum lt_err write_piece(struct lt_stream *s, struct lt_span piece) {
    size_t sent = 1;
    while (piece.n && sent) {
        enum lt_err e = lt_tls_write(s->secure->tls, piece, &sent);
        if (e != LT_OK)
            return e;
        s->sent += sent;
        piece = lt_span(piece.p + sent, piece.n - sent);
    }
    if (piece.n == 0)
        return LT_OK;
    if (!lt_buf_append(&s->out, piece))
        return LT_ERR_LIMIT;
    return want_write(s, !lt_tls_waits_for_input(s->secure->tls)) ? LT_OK : LT_ERR_MEMORY;
}

// One record for all pieces; a single one need not be copied.
static enum lt_err write_secure(struct lt_stream *s, const struct lt_span *pieces, unsigned n) {
    bool under_way = s->out.len;
    if (n == 1 && !under_way && !s->corked)
        return write_piece(s, *pieces);
    for (unsigned i = 0; i < n; i++)
        if (!lt_buf_append(&s->out, pieces[i]))
            return LT_ERR_LIMIT;
    return under_way || s->corked ? LT_OK : flush_secure(s);
}

// One system call for all pieces; a small message is copied together first, which costs less than a vector does in the kernel.
static ssize_t send_pieces(struct lt_stream *s, const struct lt_span *pieces, unsigned n, size_t total) {
    char together[2048];
    struct iovec iov[8];
    if (n == 1)
        return send(s->fd, pieces->p, total, MSG_NOSIGNAL);
    if (total <= sizeof together) {
        size_t at = 0;
        for (unsigned i = 0; i < n; at += pieces[i++].n)
            if (pieces[i].n)
                memcpy(together + at, pieces[i].p, pieces[i].n);
        return send(s->fd, together, total, MSG_NOSIGNAL);
    }
    for (unsigned i = 0; i < n && i < 8; i++)
        iov[i] = (struct iovec){.iov_base = (void *)(uintptr_t)pieces[i].p, .iov_len = pieces[i].n};
    struct msghdr message = {.msg_iov = iov, .msg_iovlen = n};
    return sendmsg(s->fd, &message, MSG_NOSIGNAL);
}

enum lt_err lt_stream_write(struct lt_stream *s, const struct lt_span *pieces, unsigned n) {
    size_t total = 0;
    if (UNLIKELY(s->secure != NULL))
        return write_secure(s, pieces, n);
    if (UNLIKELY(s->virtual != NULL))
        return write_virtual(s, pieces, n);
    if (lt_stream_pending(s) || s->corked)
        return keep(s, pieces, n, 0);
    for (unsigned i = 0; i < n; i++)
        total += pieces[i].n;
    if (total == 0)
        return LT_OK;
    ssize_t sent;
    do
        sent = send_pieces(s, pieces, n, total);
    while (sent < 0 && errno == EINTR);
    if (sent < 0) {
        if (errno != EAGAIN && errno != EWOULDBLOCK)
            return lt_err_errno(errno);
        sent = 0;
    }
    s->sent += (uint32_t)sent;
    return (size_t)sent == total ? LT_OK : keep(s, pieces, n, (size_t)sent);
}

bool lt_stream_still_takes(struct lt_stream *s) {
    int unsent = 0;
    if (!s->virtual && ioctl(s->fd, SIOCOUTQ, &unsent) != 0)
        return false;
    uint32_t taken = s->sent - (uint32_t)unsent;
    bool moved = taken != s->taken;
    s->taken = taken;
    return moved;
}

bool lt_stream_took_all(const struct lt_stream *s) {
    int unsent = 0;
    return s->out.len == 0 && ioctl(s->fd, SIOCOUTQ, &unsent) == 0 && unsent == 0;
}

enum lt_err lt_stream_uncork(struct lt_stream *s) {
    s->corked = false;
    if (UNLIKELY(s->virtual != NULL)) {
        s->virtual->ops->changed(s);
        return LT_OK;
    }
    if (s->writing)
        return LT_OK; // on its way already
    enum lt_err e = flush(s);
    if (e == LT_OK && s->out.len && !s->secure && !want_write(s, true))
        return LT_ERR_MEMORY;
    return e;
}

void lt_stream_shutdown(struct lt_stream *s) {
    if (UNLIKELY(s->virtual != NULL)) {
        s->virtual->ops->shutdown(s);
        return;
    }
    if (UNLIKELY(s->secure != NULL))
        lt_tls_shutdown(s->secure->tls);
    shutdown(s->fd, SHUT_WR);
}

int lt_connect_begin(const struct lt_address *a, enum lt_err *e) {
    int fd = socket(a->u.sa.sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        *e = lt_err_errno(errno);
        return -1;
    }
    if (a->u.sa.sa_family != AF_UNIX) {
        int one = 1;
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    }
    if (connect(fd, &a->u.sa, a->size) == 0 || errno == EINPROGRESS)
        return fd;
    // EAGAIN of a unix socket: its backlog is full
    *e = errno == EAGAIN ? LT_ERR_REFUSED : lt_err_errno(errno);
    close(fd);
    return -1;
}

enum lt_err lt_stream_connected(struct lt_stream *s) {
    int error = 0;
    socklen_t size = sizeof error;
    if (getsockopt(s->fd, SOL_SOCKET, SO_ERROR, &error, &size) != 0)
        error = errno;
    return lt_err_errno(error);
}

void lt_stream_await_connect(struct lt_stream *s) {
    want_write(s, true);
}

static bool begin_secure(struct lt_stream *s, struct lt_tls *tls) {
    struct lt_secure *secure = tls ? malloc(sizeof *secure) : NULL;
    if (!secure) {
        lt_tls_free(tls);
        return false;
    }
    *secure = (struct lt_secure){.tls = tls, .stream = s};
    lt_task_init(&secure->again, on_again);
    s->secure = secure;
    return true;
}

bool lt_stream_secure(struct lt_stream *s, struct lt_tls_context *c, struct lt_span name) {
    return begin_secure(s, lt_tls_client(c, s->fd, name));
}

bool lt_stream_accept_secure(struct lt_stream *s, struct lt_tls_server *server) {
    return begin_secure(s, lt_tls_accept(server, s->fd));
}

enum lt_err lt_stream_handshake(struct lt_stream *s, bool *done) {
    enum lt_err e = lt_tls_handshake(s->secure->tls, done);
    s->secure->handshaking = e == LT_OK && !*done;
    if (s->secure->handshaking && !lt_tls_waits_for_input(s->secure->tls) && !want_write(s, true))
        return LT_ERR_MEMORY;
    if (*done && lt_tls_has_more(s->secure->tls))
        lt_loop_defer(s->loop, &s->secure->again);
    return e;
}

struct lt_span lt_stream_alpn(const struct lt_stream *s) {
    return s->secure ? lt_tls_alpn(s->secure->tls) : lt_span(NULL, 0);
}

bool lt_stream_resumed(const struct lt_stream *s) {
    return s->secure && lt_tls_resumed(s->secure->tls);
}

struct lt_span lt_stream_subject(const struct lt_stream *s) {
    return s->secure ? lt_tls_subject(s->secure->tls) : lt_span(NULL, 0);
}

void lt_stream_spoil(struct lt_stream *s) {
    struct linger hard = {.l_onoff = 1, .l_linger = 0};
    setsockopt(s->fd, SOL_SOCKET, SO_LINGER, &hard, sizeof hard);
    if (s->secure)
        lt_tls_mute(s->secure->tls);
}

const char *lt_stream_why(const struct lt_stream *s) {
    return s->secure ? lt_tls_why(s->secure->tls) : "";
}
