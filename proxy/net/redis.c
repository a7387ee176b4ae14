// SPDX-License-Identifier: Apache-2.0
//
//          send()             located            connected          greeting answered
//   IDLE ─────────▶ LOCATING ─────────▶ CONNECTING ─────────▶ GREETING ─────────▶ SERVING
//                    │  ▲      failure │ or time-out               │                │
//                    │  │              ▼                           │     connection │ lost, once: tries again at once
//                    └──┼────────▶ BACKOFF ◀───────────────────────┘                ▼
//                       └─────────────┘ alarm                                    LOCATING
//
// A name that has never had an address is no failure at first: lethe may have started before its Redis, or the resolver has not
// answered yet. The client stays in LOCATING, the breaker closed, until an address comes or the oldest command's time is over.
//
// From the first failure to SERVING the circuit breaker is open: commands fail at once, and the greeting is the only probe. All commands
// have the same time limit and are answered in order, so the oldest one's deadline is the only one to watch; silence past it condemns
// the whole connection, since what stands behind would have to wait for it too.
#include "net/redis_client.h"

#include "base/clock.h"
#include "base/log.h"
#include "crypto/token.h"

#include <stdlib.h>

enum { BACKOFF_MIN_MS = 50, BACKOFF_MAX_MS = 2000, READ_SIZE = 16384, RESOLVE_MS = 20 };

static void on_readable(struct lt_stream *s);
static void on_drained(struct lt_stream *s);
static void on_broken(struct lt_stream *s, enum lt_err e);
static void connection_lost(struct lt_redis *r, enum lt_err e);
static const struct lt_stream_ops stream_ops = {on_readable, on_drained, on_broken};

static struct lt_redis *of_stream(struct lt_stream *s) {
    return LT_ENTRY(s, struct lt_redis, stream);
}

static void tell(struct lt_redis *r, enum lt_redis_event e) {
    if (r->options.owner && r->options.owner->happened)
        r->options.owner->happened(r->options.owner, r, e);
}

void lt_redis_watch(struct lt_redis *r) {
    if (r->n)
        lt_timer_set(r->loop, &r->timer, lt_redis_oldest(r)->deadline - lt_clock_mono());
    else if (r->state == LT_REDIS_SERVING || r->state == LT_REDIS_IDLE)
        lt_timer_clear(r->loop, &r->timer);
}

static void disconnect(struct lt_redis *r) {
    lt_timer_clear(r->loop, &r->again);
    lt_stream_close(&r->stream);
    if (r->reader)
        redisReaderFree(r->reader);
    r->reader = NULL;
    r->greeting = r->n_greetings = 0;
    lt_buf_fini(&r->queued);
}

static void say_away(struct lt_redis *r, enum lt_err e) {
    const char *why = lt_stream_why(&r->stream);
    if (r->failures)
        return;
    if (*why)
        LT_LOG(LT_LOG_WARN, "redis_tls_failed", lt_fs("address", lt_redis_address(r)), lt_fs("why", why),
               lt_fs("do", "see redis.ca, redis.cert, redis.key, redis.server_name, and the server's certificate"));
    LT_LOG(LT_LOG_WARN, "redis_away", lt_fs("address", lt_redis_address(r)), lt_fs("why", lt_err_name(e)));
}

// Half of the wait is drawn: many clients of one server come back one after the other.
static void back_off(struct lt_redis *r) {
    unsigned shift = r->patience < 6 ? r->patience : 6;
    int64_t wait = (int64_t)BACKOFF_MIN_MS << shift;
    if (wait > BACKOFF_MAX_MS)
        wait = BACKOFF_MAX_MS;
    bool opens = r->failures == 0;
    r->failures++;
    r->patience++;
    r->state = LT_REDIS_BACKOFF;
    lt_timer_set(r->loop, &r->timer, wait / 2 + rand_r(&r->seed) % (wait / 2 + 1));
    if (opens)
        tell(r, LT_REDIS_OPENED);
}

static void connection_failed(struct lt_redis *r, enum lt_err e) {
    say_away(r, e);
    disconnect(r);
    back_off(r);
    lt_redis_fail_all(r, e);
}

static void begin_connect(struct lt_redis *r) {
    struct lt_address a;
    enum lt_err e = lt_target_address(r->target, r->turn++, &a);
    lt_timer_clear(r->loop, &r->again);
    if (e == LT_ERR_RESOLVE && r->failures == 0) {
        lt_timer_set(r->loop, &r->again, RESOLVE_MS);
        return;
    }
    int fd = e == LT_OK ? lt_connect_begin(&a, &e) : -1;
    if (fd < 0) {
        connection_failed(r, e);
        return;
    }
    lt_stream_open(&r->stream, r->loop, fd, &stream_ops, LT_REDIS_OUT_MAX);
    lt_stream_await_connect(&r->stream);
    r->state = LT_REDIS_CONNECTING;
}

static void on_again(struct lt_timer *t) {
    begin_connect(LT_ENTRY(t, struct lt_redis, again));
}

static void begin(struct lt_redis *r) {
    struct lt_redis_owner *owner = r->options.owner;
    if (r->n == 0)
        lt_timer_set(r->loop, &r->timer, r->options.timeout);
    else
        lt_redis_watch(r);
    r->state = LT_REDIS_LOCATING;
    if (owner && owner->locate)
        owner->locate(owner, r);
    else
        begin_connect(r);
}

bool lt_redis_located(struct lt_redis *r, struct lt_span address) {
    if (r->state != LT_REDIS_LOCATING)
        return false;
    if (address.n && !(r->target && lt_span_eq(address, lt_span_cstr(lt_target_text(r->target))))) {
        struct lt_target *target =
            lt_target_get(address); // before the old one goes: both may be names, and the resolver stays
        lt_target_put(r->target);
        r->target = target;
    }
    if (address.n && r->target)
        begin_connect(r);
    else
        connection_failed(r, LT_ERR_RESOLVE);
    return true;
}

static void on_timer(struct lt_timer *t) {
    struct lt_redis *r = LT_ENTRY(t, struct lt_redis, timer);
    if (r->state == LT_REDIS_BACKOFF)
        begin(r);
    else if (r->n && lt_redis_oldest(r)->deadline > lt_clock_mono())
        lt_redis_watch(r);
    else
        connection_failed(r, lt_timer_is_set(&r->again) ? LT_ERR_RESOLVE : LT_ERR_TIMEOUT);
}

static void on_flush(struct lt_task *t) {
    struct lt_redis *r = LT_ENTRY(t, struct lt_redis, flush);
    if (r->state == LT_REDIS_IDLE && r->n) {
        begin(r);
        return;
    }
    struct lt_span text = lt_buf_span(&r->queued);
    if (r->state != LT_REDIS_SERVING || text.n == 0)
        return;
    enum lt_err e = lt_stream_write(&r->stream, &text, 1);
    lt_buf_consume(&r->queued, text.n);
    if (e != LT_OK)
        connection_lost(r, e);
}

// The name to be found in the server's certificate.
static struct lt_span server_name(const struct lt_redis *r) {
    struct lt_span host, port, text = lt_span_cstr(lt_redis_address(r));
    if (r->options.server_name.n)
        return r->options.server_name;
    if (!lt_host_port(text, &host, &port))
        return lt_span("", 0);
    bool is_bracketed = host.n > 2 && host.p[0] == '[';
    return is_bracketed ? lt_span(host.p + 1, host.n - 2) : host;
}

static void on_drained(struct lt_stream *s) {
    struct lt_redis *r = of_stream(s);
    if (r->state != LT_REDIS_CONNECTING)
        return;
    enum lt_err e = lt_stream_connected(s);
    r->reader = e == LT_OK ? redisReaderCreate() : NULL;
    if (!r->reader || (r->options.tls && !lt_stream_secure(s, r->options.tls, server_name(r)))) {
        connection_failed(r, e == LT_OK ? LT_ERR_MEMORY : e);
        return;
    }
    r->state = LT_REDIS_GREETING;
    lt_stream_want_read(s, true);
    e = lt_redis_greet(r);
    if (e != LT_OK)
        connection_failed(r, e);
}

void lt_redis_serve(struct lt_redis *r) {
    bool closes = r->failures > 0;
    if (closes)
        LT_LOG(LT_LOG_INFO, "redis_back", lt_fs("address", lt_redis_address(r)), lt_fn("failures", r->failures));
    r->failures = 0;
    r->state = LT_REDIS_SERVING;
    lt_redis_watch(r);
    lt_loop_defer(r->loop, &r->flush);
    if (closes)
        tell(r, LT_REDIS_CLOSED);
    tell(r, LT_REDIS_READY);
}

static void on_broken(struct lt_stream *s, enum lt_err e) {
    connection_lost(of_stream(s), e);
}

// A connection that was good is lost: what waits is told, and a new connection is tried at once, without opening the
// breaker: a restart of Redis or a CLIENT KILL need not be noticed.
static void connection_lost(struct lt_redis *r, enum lt_err e) {
    if (r->state != LT_REDIS_SERVING) {
        connection_failed(r, e);
        return;
    }
    disconnect(r);
    lt_timer_clear(r->loop, &r->timer);
    r->state = LT_REDIS_IDLE;
    lt_redis_fail_all(r, e);
    begin(r);
}

static void on_move(struct lt_task *t) {
    struct lt_redis *r = LT_ENTRY(t, struct lt_redis, move);
    if (r->state == LT_REDIS_SERVING) {
        connection_lost(r, LT_ERR_CLOSED);
    } else if (r->state != LT_REDIS_IDLE) {
        disconnect(r);
        lt_redis_fail_all(r, LT_ERR_CLOSED);
        begin(r);
    }
}

void lt_redis_move(struct lt_redis *r) {
    lt_loop_defer(r->loop, &r->move);
}

// False: the connection has ended.
static bool answered(struct lt_redis *r, const redisReply *reply) {
    struct lt_redis_owner *owner = r->options.owner;
    if (r->n_greetings > r->greeting) {
        if (lt_redis_greeted(r, reply))
            return true;
        connection_failed(r, LT_ERR_REFUSED);
        return false;
    }
    if (r->n) {
        struct lt_redis_call *call = lt_redis_take(r);
        r->patience = 0;
        if (call)
            call->done(call, LT_OK, reply);
    } else if (owner && owner->pushed) {
        owner->pushed(owner, r, reply);
    } else {
        connection_failed(r, LT_ERR_PROTOCOL);
    }
    return r->reader != NULL;
}

// One answer off the reader. False: none is whole yet, or the connection has ended.
static bool one_answer(struct lt_redis *r) {
    void *object = NULL;
    if (redisReaderGetReply(r->reader, &object) != REDIS_OK) {
        connection_failed(r, LT_ERR_PROTOCOL);
        return false;
    }
    if (!object)
        return false;
    bool go_on = answered(r, object);
    freeReplyObject(object);
    return go_on;
}

static void on_readable(struct lt_stream *s) {
    struct lt_redis *r = of_stream(s);
    char data[READ_SIZE];
    size_t got;
    enum lt_err e = lt_stream_read(s, data, sizeof data, &got);
    if (e != LT_OK) {
        connection_lost(r, e);
        return;
    }
    if (got && redisReaderFeed(r->reader, data, got) != REDIS_OK) {
        connection_failed(r, LT_ERR_PROTOCOL);
        return;
    }
    while (one_answer(r)) {
    }
    if (r->state == LT_REDIS_SERVING)
        lt_redis_watch(r);
}

bool lt_redis_is_open(const struct lt_redis *r) {
    return r->failures > 0;
}

const char *lt_redis_address(const struct lt_redis *r) {
    return r->target ? lt_target_text(r->target) : "";
}

bool lt_redis_has_address(const struct lt_redis *r) {
    return r->target && lt_target_count(r->target) > 0;
}

uint64_t *lt_redis_note(struct lt_redis *r) {
    return &r->note;
}

static struct lt_span copy_text(char **at, struct lt_span s) {
    struct lt_span copy = lt_span(*at, s.n);
    if (s.n)
        memcpy(*at, s.p, s.n);
    (*at)[s.n] = '\0';
    *at += s.n + 1;
    return copy;
}

struct lt_redis *lt_redis_new(struct lt_loop *loop, const struct lt_redis_options *o) {
    struct lt_redis *r = calloc(1, sizeof *r);
    char *texts = calloc(1, o->user.n + o->password.n + o->server_name.n + 3), *at = texts;
    struct lt_target *target = o->address.n ? lt_target_get(o->address) : NULL;
    if (!r || !texts || (o->address.n && !target)) {
        free(r);
        free(texts);
        lt_target_put(target);
        return NULL;
    }
    *r = (struct lt_redis){.loop = loop, .target = target, .options = *o, .texts = texts, .stream = {.fd = -1}};
    r->options.user = copy_text(&at, o->user);
    r->options.password = copy_text(&at, o->password);
    r->options.server_name = copy_text(&at, o->server_name);
    if (!lt_random(&r->seed, sizeof r->seed))
        r->seed = (unsigned)lt_clock_wall() ^ (unsigned)(uintptr_t)r;
    lt_buf_init(&r->queued, LT_REDIS_OUT_MAX);
    lt_list_init(&r->refused);
    lt_timer_init(&r->timer, on_timer);
    lt_timer_init(&r->again, on_again);
    lt_task_init(&r->flush, on_flush);
    lt_task_init(&r->refuse, lt_redis_on_refuse);
    lt_task_init(&r->move, on_move);
    return r;
}

void lt_redis_free(struct lt_redis *r) {
    if (!r)
        return;
    disconnect(r);
    lt_timer_clear(r->loop, &r->timer);
    r->state = LT_REDIS_BACKOFF; // what a callback sends now is refused
    lt_redis_fail_all(r, LT_ERR_CANCELED);
    lt_redis_on_refuse(&r->refuse);
    lt_task_cancel(&r->flush);
    lt_task_cancel(&r->refuse);
    lt_task_cancel(&r->move);
    lt_target_put(r->target);
    free(r->ring);
    free(r->texts);
    free(r);
}
