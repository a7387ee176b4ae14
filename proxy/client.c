// SPDX-License-Identifier: Apache-2.0
#include "client.h"

#include "exchange.h"
#include "h2.h"
#include "process.h"
#include "proxy_header.h"

#include <stdlib.h>
#include <unistd.h>

enum { LINGER_MS = 2000, LINGER_BYTES = 16 << 20, REPLY_MAX = 40 << 20, PROXY_MOST = 4096 };

static void on_readable(struct lt_stream *s);
static void on_drained(struct lt_stream *s);
static void on_broken(struct lt_stream *s, enum lt_err e);
static const struct lt_stream_ops stream_ops = {on_readable, on_drained, on_broken};

static struct lt_client *of_stream(struct lt_stream *s) {
    return LT_ENTRY(s, struct lt_client, stream);
}

static const struct lt_core_conf *conf(struct lt_client *c) {
    return &c->worker->generation->snapshot->core;
}

static void set_state(struct lt_client *c, enum lt_client_state next) {
    c->state = next;
}

static void free_now(struct lt_task *t) {
    free(LT_ENTRY(t, struct lt_client, later));
}

// The memory goes at the end of the turn, so that whoever called us may still look at the state.
static void close_client(struct lt_client *c) {
    if (c->state == LT_CLIENT_CLOSED)
        return;
    bool is_stream = lt_client_is_h2(c);
    set_state(c, LT_CLIENT_CLOSED);
    if (c->h2)
        lt_h2_free(c->h2);
    c->h2 = NULL;
    lt_stream_close(&c->stream);
    lt_inbox_fini(&c->in);
    lt_timer_clear(&c->worker->loop, &c->timer);
    lt_task_cancel(&c->later);
    lt_list_remove(&c->node);
    if (!is_stream) {
        c->worker->n_clients--;
        if (c->worker->role == LT_ROLE_PROXY)
            lt_process_connections(-1);
        lt_worker_count(c->worker, LT_M_CLIENTS, -1);
        lt_worker_check_drained(c->worker);
    }
    lt_task_init(&c->later, free_now);
    lt_loop_defer(&c->worker->loop, &c->later);
}

void lt_client_abort(struct lt_client *c) {
    if (c->state == LT_CLIENT_CLOSED)
        return;
    if (!lt_client_is_h2(c))
        lt_stream_spoil(&c->stream);
    close_client(c);
}

static void begin_linger(struct lt_client *c) {
    lt_stream_shutdown(&c->stream);
    if (c->ended) {
        close_client(c);
        return;
    }
    set_state(c, LT_CLIENT_LINGER);
    lt_inbox_fini(&c->in);
    lt_stream_want_read(&c->stream, true);
    lt_timer_set(&c->worker->loop, &c->timer, LINGER_MS);
}

// Between two requests: with all sent, waits for the next one.
static void go_idle(struct lt_client *c) {
    int64_t patience = conf(c)->timeouts->idle;
    if (lt_worker_closes(c->worker)) // its answer did not say that the connection ends: the next request may be on its way
        patience = conf(c)->timeouts->drain_quiet;
    if (patience == 0 || c->ended) {
        begin_linger(c);
        return;
    }
    set_state(c, LT_CLIENT_IDLE);
    lt_stream_want_read(&c->stream, true);
    lt_timer_set(&c->worker->loop, &c->timer, patience);
}

// Bytes of a request are in the inbox.
static void parse(struct lt_client *c) {
    if (c->state == LT_CLIENT_IDLE || !c->x) {
        c->x = lt_exchange_new(c);
        if (!c->x) {
            lt_client_abort(c);
            return;
        }
        set_state(c, LT_CLIENT_HEAD);
        lt_timer_set(&c->worker->loop, &c->timer, conf(c)->timeouts->head);
    }
    lt_exchange_client_data(c->x);
    if (c->state == LT_CLIENT_HEAD && c->ended)
        lt_exchange_client_gone(c->x); // the rest of this head will never come
}

// The handshake failed: our last word, an alert, is still to be read.
static void refuse_tls(struct lt_client *c, enum lt_err e) {
    char peer[LT_ADDRESS_TEXT];
    lt_worker_count(c->worker, LT_M_TLS_FAILED, 1);
    LT_LOG(LT_LOG_DEBUG, "tls_failed", lt_f("peer", lt_ip_text(&c->peer, peer)), lt_fs("why", lt_stream_why(&c->stream)));
    if (e == LT_ERR_PROTOCOL)
        begin_linger(c);
    else
        close_client(c);
}

static void go_on_with_tls(struct lt_client *c) {
    bool done;
    enum lt_err e = lt_stream_handshake(&c->stream, &done);
    if (e != LT_OK) {
        refuse_tls(c, e);
    } else if (done) {
        lt_worker_count(c->worker, lt_stream_resumed(&c->stream) ? LT_M_TLS_RESUMED : LT_M_TLS_FULL, 1);
        set_state(c, LT_CLIENT_IDLE);
        lt_timer_set(&c->worker->loop, &c->timer,
                     lt_worker_closes(c->worker) ? conf(c)->timeouts->drain_quiet : conf(c)->timeouts->idle);
    }
}

static void begin_tls(struct lt_client *c) {
    struct lt_tls_server *server = conf(c)->tls.server; // NULL: a reload has taken all certificates away
    if (!server || !lt_stream_accept_secure(&c->stream, server)) {
        lt_client_abort(c);
        return;
    }
    set_state(c, LT_CLIENT_TLS);
    lt_timer_set(&c->worker->loop, &c->timer, conf(c)->timeouts->head);
}

// How much may be read of a PROXY header: what follows is for TLS, which reads the socket itself.
static size_t header_left(struct lt_client *c) {
    char data[PROXY_MOST];
    struct lt_span have = lt_inbox_span(&c->in);
    struct lt_address named;
    if (!c->tls || have.n >= sizeof data)
        return SIZE_MAX;
    if (have.p)
        memcpy(data, have.p, have.n);
    ssize_t n = recv(c->stream.fd, data + have.n, sizeof data - have.n, MSG_PEEK | MSG_DONTWAIT);
    if (n <= 0)
        return 1; // the read tells why
    size_t size = 0;
    enum lt_proxy_status status = lt_proxy_header(lt_span(data, have.n + (size_t)n), &size, &named);
    return status == LT_PROXY_NAMED || status == LT_PROXY_LOCAL ? size - have.n : (size_t)n;
}

// What a PROXY header names becomes the peer. True: a request may stand behind it already.
static bool read_proxy_header(struct lt_client *c) {
    struct lt_span data = lt_inbox_span(&c->in);
    struct lt_address named;
    size_t size = 0;
    enum lt_proxy_status status = lt_proxy_header(data, &size, &named);
    if (status == LT_PROXY_MORE)
        return false;
    if (status == LT_PROXY_BAD) {
        lt_worker_count(c->worker, LT_M_REJECTS + LT_REJECT_PROXY_HEADER, 1);
        lt_client_abort(c);
        return false;
    }
    if (status == LT_PROXY_NAMED)
        c->peer = lt_address_ip(&named);
    lt_inbox_consume(&c->in, size);
    lt_inbox_release(&c->in);
    if (c->tls) {
        begin_tls(c);
        return false;
    }
    set_state(c, LT_CLIENT_IDLE);
    lt_timer_set(&c->worker->loop, &c->timer, conf(c)->timeouts->idle);
    return lt_inbox_span(&c->in).n > 0;
}

// The preface of HTTP/2 with prior knowledge (RFC 9113 section 3.3), as far as it has come. `PRI` is no method of anything else.
static bool may_be_h2(struct lt_client *c) {
    static const struct lt_span preface = {LT_H2_PREFACE, sizeof LT_H2_PREFACE - 1};
    struct lt_span data = lt_inbox_span(&c->in);
    size_t n = data.n < preface.n ? data.n : preface.n;
    return !c->used && c->worker->role == LT_ROLE_PROXY && !lt_client_is_h2(c) && conf(c)->top->http2 && data.p &&
           memcmp(data.p, preface.p, n) == 0;
}

static void begin_h2(struct lt_client *c) {
    if (lt_inbox_span(&c->in).n < sizeof LT_H2_PREFACE - 1) {
        lt_timer_set(&c->worker->loop, &c->timer, conf(c)->timeouts->head);
        return;
    }
    set_state(c, LT_CLIENT_H2);
    c->used = true;
    c->h2 = lt_h2_new(c);
    if (!c->h2)
        lt_client_abort(c);
}

static void dispatch(struct lt_client *c) {
    switch (c->state) {
    case LT_CLIENT_PROXY:
        if (!read_proxy_header(c))
            break;
        __attribute__((fallthrough));
    case LT_CLIENT_IDLE:
        if (lt_stream_pending(&c->stream))
            lt_stream_want_read(&c->stream,
                                false); // who does not read his answers gets no more of them: on_drained goes on
        else if (may_be_h2(c))
            begin_h2(c);
        else
            parse(c);
        break;
    case LT_CLIENT_HEAD:
        parse(c);
        break;
    case LT_CLIENT_EXCHANGE:
    case LT_CLIENT_TUNNEL:
        lt_exchange_client_data(c->x);
        break;
    case LT_CLIENT_TLS:
    case LT_CLIENT_H2:
    case LT_CLIENT_LINGER:
    case LT_CLIENT_CLOSED:
        break;
    }
}

// The client ended its side. A request under way is still answered (RFC 9112 section 9.6 lets a client half-close);
// the answer tells whether anybody is there to read it.
static void peer_ended(struct lt_client *c) {
    c->ended = true;
    lt_stream_want_read(&c->stream, false);
    switch (c->state) {
    case LT_CLIENT_EXCHANGE:
    case LT_CLIENT_TUNNEL:
        lt_exchange_client_data(c->x);
        break;
    case LT_CLIENT_HEAD:
        lt_exchange_client_gone(c->x);
        break;
    default:
        close_client(c);
    }
}

static void peer_gone(struct lt_client *c) {
    if (c->x)
        lt_exchange_client_gone(c->x);
    else
        close_client(c);
}

static void discard(struct lt_client *c) {
    size_t got;
    enum lt_err e = lt_stream_discard(&c->stream, &got);
    c->lingered += (unsigned)got;
    if (e != LT_OK || c->lingered > LINGER_BYTES)
        close_client(c);
}

static void on_readable(struct lt_stream *s) {
    struct lt_client *c = of_stream(s);
    size_t got;
    if (c->state == LT_CLIENT_LINGER) {
        discard(c);
        return;
    }
    if (c->state == LT_CLIENT_H2) {
        lt_h2_readable(c->h2);
        return;
    }
    if (c->state == LT_CLIENT_TLS) {
        go_on_with_tls(c);
        return;
    }
    enum lt_err e = c->state == LT_CLIENT_EXCHANGE ? lt_relay_receive_request(c->x, &got)
                    : c->state == LT_CLIENT_PROXY  ? lt_inbox_read_most(&c->in, s, header_left(c), &got)
                                                   : lt_inbox_read(&c->in, s, &got);
    if (e == LT_OK && got)
        dispatch(c);
    else if (e == LT_ERR_LIMIT || e == LT_ERR_MEMORY)
        lt_stream_want_read(s, false); // the exchange asks again when it has consumed some
    else if (e == LT_ERR_CLOSED)
        peer_ended(c);
    else if (e != LT_OK)
        peer_gone(c);
}

static void on_next(struct lt_task *t) {
    struct lt_client *c = LT_ENTRY(t, struct lt_client, later);
    if (c->state != LT_CLIENT_IDLE || lt_stream_pending(&c->stream))
        return;
    if (lt_inbox_span(&c->in).n)
        parse(c);
}

static void on_drained(struct lt_stream *s) {
    struct lt_client *c = of_stream(s);
    if (c->h2) {
        lt_h2_drained(c->h2);
    } else if (c->x) {
        lt_exchange_client_drained(c->x);
    } else if (c->state == LT_CLIENT_LINGER) {
        begin_linger(c);
    } else if (c->state == LT_CLIENT_IDLE) {
        lt_stream_want_read(s, !c->ended);
        on_next(&c->later);
    }
}

static void on_broken(struct lt_stream *s, enum lt_err e) {
    (void)e;
    peer_gone(of_stream(s));
}

void lt_client_end(struct lt_client *c, bool politely) {
    if (c->h2)
        lt_h2_free(c->h2);
    c->h2 = NULL;
    if (politely && !c->ended)
        begin_linger(c);
    else
        close_client(c);
}

bool lt_client_head(struct lt_client *c, struct lt_buf *out, const struct lt_h1_head *head, const struct lt_h1_out *how) {
    return lt_client_is_h2(c) ? lt_h2_head(c, head, how) : lt_h1_write_response(out, head, how);
}

void lt_client_exchange_done(struct lt_client *c, bool keep, bool last) {
    if (lt_client_is_h2(c)) { // each stream carries one request
        c->x = NULL;
        lt_h2_finish(c);
        close_client(c);
        return;
    }
    c->used = true;
    c->x = NULL;
    lt_inbox_release(&c->in);
    bool more = lt_inbox_span(&c->in).n > 0;
    if (keep && more) {
        set_state(c, LT_CLIENT_IDLE);
        lt_timer_set(&c->worker->loop, &c->timer, conf(c)->timeouts->idle);
        lt_stream_want_read(&c->stream, !c->ended);
        lt_loop_defer(&c->worker->loop, &c->later);
    } else if (keep && !c->ended) {
        go_idle(c);
    } else if (lt_stream_pending(&c->stream)) {
        set_state(c, LT_CLIENT_LINGER); // on_drained goes on
        lt_inbox_fini(&c->in);
        lt_stream_want_read(&c->stream, !c->ended);
        lt_timer_set(&c->worker->loop, &c->timer, conf(c)->timeouts->upstream);
    } else if (last && !more && !c->tls) {
        close_client(c); // nothing comes for which the kernel would reset the connection: no need to wait for the peer's end
    } else {
        begin_linger(c);
    }
}

// A preface whose rest does not come is answered as any head of which that is true.
static void half_preface(struct lt_client *c) {
    parse(c);
    if (c->state == LT_CLIENT_HEAD)
        lt_exchange_head_timeout(c->x);
}

static void on_timer(struct lt_timer *t) {
    struct lt_client *c = LT_ENTRY(t, struct lt_client, timer);
    if (c->state == LT_CLIENT_HEAD)
        lt_exchange_head_timeout(c->x);
    else if (c->h2)
        lt_h2_timeout(c->h2);
    else if (lt_stream_pending(&c->stream) && lt_stream_still_takes(&c->stream))
        lt_timer_set(&c->worker->loop, t, conf(c)->timeouts->upstream);
    else if (c->x)
        lt_exchange_client_gone(c->x);
    else if (c->state == LT_CLIENT_TLS)
        refuse_tls(c, LT_ERR_TIMEOUT);
    else if (c->state == LT_CLIENT_IDLE && may_be_h2(c))
        half_preface(c);
    else
        close_client(c);
}

void lt_client_close(struct lt_client *c) {
    if (c->x)
        lt_exchange_client_gone(c->x);
    else
        close_client(c);
}

void lt_client_cut(struct lt_client *c) {
    if (c->x)
        lt_exchange_cut(c->x);
    else if (c->h2)
        lt_h2_cut(c->h2);
    else
        close_client(c);
}

void lt_client_drain(struct lt_client *c) {
    if (c->h2) {
        lt_h2_drain(c->h2);
        return;
    }
    if (!lt_worker_closes(c->worker)) // the answers' "Connection: close" is enough
        return;
    if (c->state == LT_CLIENT_TUNNEL) {
        lt_tunnel_drain(c->x);
        return;
    }
    int64_t quiet = conf(c)->timeouts->drain_quiet;
    if (c->state == LT_CLIENT_IDLE && c->stream.reading)
        on_readable(&c->stream); // a request may stand in the socket
    if (c->state != LT_CLIENT_IDLE || lt_inbox_span(&c->in).n || lt_stream_pending(&c->stream))
        return;
    if (c->used || quiet == 0)
        begin_linger(c);
    else // it may have just come out of the listener's queue, its first request on its way
        lt_timer_set(&c->worker->loop, &c->timer, quiet);
}

void lt_client_new(struct lt_worker *w, int fd, struct lt_ip peer, bool proxy_header, bool tls) {
    struct lt_client *c = calloc(1, sizeof *c);
    if (!c) {
        close(fd);
        if (w->role == LT_ROLE_PROXY)
            lt_process_connections(-1);
        return;
    }
    c->worker = w;
    c->peer = peer;
    c->tls = tls;
    lt_stream_open(&c->stream, &w->loop, fd, &stream_ops, w->role == LT_ROLE_PROXY ? 4 * w->blocks.size : REPLY_MAX);
    lt_inbox_init(&c->in, &w->blocks);
    lt_timer_init(&c->timer, on_timer);
    lt_task_init(&c->later, on_next);
    lt_list_append(&w->clients, &c->node);
    w->n_clients++;
    lt_worker_count(w, LT_M_CLIENTS, 1);
    set_state(c, proxy_header ? LT_CLIENT_PROXY : LT_CLIENT_IDLE);
    lt_timer_set(&w->loop, &c->timer, proxy_header ? conf(c)->timeouts->head : conf(c)->timeouts->idle);
    lt_stream_want_read(&c->stream, true);
    if (tls && !proxy_header)
        begin_tls(c);
}

struct lt_client *lt_client_new_virtual(struct lt_worker *w, struct lt_virtual *v, const struct lt_client *connection) {
    struct lt_client *c = calloc(1, sizeof *c);
    if (!c)
        return NULL;
    c->worker = w;
    c->peer = connection->peer;
    lt_stream_open_virtual(&c->stream, &w->loop, v, &stream_ops, 4 * w->blocks.size);
    lt_inbox_init(&c->in, &w->blocks);
    lt_timer_init(&c->timer, on_timer);
    lt_task_init(&c->later, on_next);
    lt_list_init(&c->node);
    set_state(c, LT_CLIENT_IDLE);
    lt_stream_want_read(&c->stream, true);
    return c;
}
