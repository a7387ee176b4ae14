// SPDX-License-Identifier: Apache-2.0
//
//            send()                connected          +OK of AUTH, SELECT, PING
//   CLOSED ─────────▶ CONNECTING ───────────▶ GREETING ───────────▶ READY
//                      │   ▲                     │                    │
//              failure │   │ alarm       failure │      connection    │ lost: tries again at once
//                      ▼   │                     │                    ▼
//                     BACKOFF ◀──────────────────┘                CONNECTING
//
// In BACKOFF the circuit breaker is open: commands fail at once. All commands have the same time limit and are answered
// in order, so the oldest one's deadline is the only one to watch; silence past it condemns the whole connection.
#include "net/redis.h"

#include "base/clock.h"
#include "base/log.h"

#include <hiredis/hiredis.h>
#include <stdlib.h>

enum state { CLOSED, CONNECTING, GREETING, READY, BACKOFF };
enum { OUT_MAX = 64 << 20, WAITING_MAX = 1 << 16, BACKOFF_MIN_MS = 50, BACKOFF_MAX_MS = 2000, READ_SIZE = 16384 };

struct waiting {
    struct lt_redis_call *call; // NULL: canceled, the answer is passed over
    int64_t deadline;
};

struct lt_redis {
    struct lt_loop *loop;
    enum state state;
    struct lt_stream stream;
    redisReader *reader;
    struct lt_buf queued;  // commands formatted in this turn, or while not READY
    struct waiting *ring;  // answered in this order
    unsigned head, n, cap; // cap: a power of two
    unsigned greetings;    // answers of the greeting that are still to come
    struct lt_timer timer; // oldest deadline, or the end of BACKOFF
    struct lt_task flush, refuse;
    struct lt_list refused;
    unsigned failures; // in a row
    unsigned seed, turn;
    struct lt_target *target;
    struct lt_redis_options options; // texts are copies
    char *texts;
};

static void on_readable(struct lt_stream *s);
static void on_drained(struct lt_stream *s);
static void on_broken(struct lt_stream *s, enum lt_err e);
static void connection_lost(struct lt_redis *r, enum lt_err e);
static const struct lt_stream_ops stream_ops = {on_readable, on_drained, on_broken};

static struct lt_redis *of_stream(struct lt_stream *s) {
    return LT_ENTRY(s, struct lt_redis, stream);
}

static void set_state(struct lt_redis *r, enum state next) {
    if (next == BACKOFF && r->failures == 1)
        LT_LOG(LT_LOG_WARN, "redis_away", lt_fs("address", lt_target_text(r->target)));
    if (next == READY && r->failures)
        LT_LOG(LT_LOG_INFO, "redis_back", lt_fs("address", lt_target_text(r->target)), lt_fn("failures", r->failures));
    if (next == READY)
        r->failures = 0;
    r->state = next;
}

static struct waiting *oldest(struct lt_redis *r) {
    return &r->ring[r->head & (r->cap - 1)];
}

static struct lt_redis_call *take_oldest(struct lt_redis *r) {
    struct lt_redis_call *call = oldest(r)->call;
    r->head++;
    r->n--;
    if (call)
        call->busy = false;
    return call;
}

static void watch(struct lt_redis *r) {
    if (r->n)
        lt_timer_set(r->loop, &r->timer, oldest(r)->deadline - lt_clock_mono());
    else if (r->state == READY || r->state == CLOSED)
        lt_timer_clear(r->loop, &r->timer);
}

static void disconnect(struct lt_redis *r) {
    lt_stream_close(&r->stream);
    if (r->reader)
        redisReaderFree(r->reader);
    r->reader = NULL;
    r->greetings = 0;
    lt_buf_fini(&r->queued);
}

// Ends the connection; everything that waits for an answer is told `e`. A callback may send again: that lands in a
// new queue, since the old ones are detached first.
static void fail_all(struct lt_redis *r, enum lt_err e) {
    for (unsigned n = r->n; n && r->n; n--) {
        struct lt_redis_call *call = take_oldest(r);
        if (call)
            call->done(call, e, NULL);
    }
}

static void back_off(struct lt_redis *r) {
    unsigned shift = r->failures < 6 ? r->failures : 6;
    int64_t wait = (int64_t)BACKOFF_MIN_MS << shift;
    if (wait > BACKOFF_MAX_MS)
        wait = BACKOFF_MAX_MS;
    r->failures++;
    set_state(r, BACKOFF);
    lt_timer_set(r->loop, &r->timer, wait / 2 + rand_r(&r->seed) % (wait / 2 + 1));
}

static void connection_failed(struct lt_redis *r, enum lt_err e) {
    disconnect(r);
    back_off(r);
    fail_all(r, e);
}

static void begin_connect(struct lt_redis *r) {
    struct lt_address a;
    enum lt_err e = lt_target_address(r->target, r->turn++, &a);
    int fd = e == LT_OK ? lt_connect_begin(&a, &e) : -1;
    if (fd < 0) {
        connection_failed(r, e);
        return;
    }
    lt_stream_open(&r->stream, r->loop, fd, &stream_ops, OUT_MAX);
    lt_stream_await_connect(&r->stream);
    set_state(r, CONNECTING);
    if (r->n == 0)
        lt_timer_set(r->loop, &r->timer, r->options.timeout);
    else
        watch(r);
}

static void on_timer(struct lt_timer *t) {
    struct lt_redis *r = LT_ENTRY(t, struct lt_redis, timer);
    if (r->state == BACKOFF)
        begin_connect(r);
    else if (r->n && oldest(r)->deadline > lt_clock_mono())
        watch(r);
    else
        connection_failed(r, LT_ERR_TIMEOUT);
}

static bool format(struct lt_buf *out, const struct lt_span *args, unsigned n) {
    const char *argv[16];
    size_t sizes[16];
    char *text = NULL;
    for (unsigned i = 0; i < n && i < 16; i++) {
        argv[i] = args[i].p ? args[i].p : "";
        sizes[i] = args[i].n;
    }
    int len = redisFormatCommandArgv(&text, (int)n, argv, sizes);
    bool ok = len > 0 && lt_buf_append(out, lt_span(text, (size_t)len));
    if (text)
        redisFreeCommand(text);
    return ok;
}

// AUTH and SELECT where asked for, and PING: only an answered one proves that somebody is there.
static bool greet(struct lt_redis *r) {
    struct lt_buf out;
    lt_buf_init(&out, 4096);
    struct lt_redis_options *o = &r->options;
    bool ok = true;
    r->greetings = 0;
    if (o->password.n) {
        struct lt_span with_user[] = {LT_S("AUTH"), o->user, o->password}, without[] = {LT_S("AUTH"), o->password};
        ok = o->user.n ? format(&out, with_user, 3) : format(&out, without, 2);
        r->greetings++;
    }
    if (o->database) {
        char number[16];
        int len = snprintf(number, sizeof number, "%u", o->database);
        struct lt_span select[] = {LT_S("SELECT"), lt_span(number, (size_t)len)};
        ok = ok && format(&out, select, 2);
        r->greetings++;
    }
    struct lt_span ping[] = {LT_S("PING")}, text;
    ok = ok && format(&out, ping, 1);
    r->greetings++;
    text = lt_buf_span(&out);
    ok = ok && lt_stream_write(&r->stream, &text, 1) == LT_OK;
    lt_buf_fini(&out);
    return ok;
}

static void on_flush(struct lt_task *t) {
    struct lt_redis *r = LT_ENTRY(t, struct lt_redis, flush);
    if (r->state == CLOSED && r->n) {
        begin_connect(r);
        return;
    }
    struct lt_span text = lt_buf_span(&r->queued);
    if (r->state != READY || text.n == 0)
        return;
    enum lt_err e = lt_stream_write(&r->stream, &text, 1);
    lt_buf_consume(&r->queued, text.n);
    if (e != LT_OK)
        connection_lost(r, e);
}

static void on_drained(struct lt_stream *s) {
    struct lt_redis *r = of_stream(s);
    if (r->state != CONNECTING)
        return;
    enum lt_err e = lt_stream_connected(s);
    r->reader = e == LT_OK ? redisReaderCreate() : NULL;
    if (!r->reader) {
        connection_failed(r, e == LT_OK ? LT_ERR_MEMORY : e);
        return;
    }
    set_state(r, GREETING);
    lt_stream_want_read(s, true);
    if (!greet(r))
        connection_failed(r, LT_ERR_IO);
}

static void on_broken(struct lt_stream *s, enum lt_err e) {
    connection_lost(of_stream(s), e);
}

// A connection that was good is lost: what waits is told, and a new connection is tried at once, without opening the
// breaker: a restart of Redis or a CLIENT KILL need not be noticed.
static void connection_lost(struct lt_redis *r, enum lt_err e) {
    if (r->state != READY) {
        connection_failed(r, e);
        return;
    }
    disconnect(r);
    lt_timer_clear(r->loop, &r->timer);
    set_state(r, CLOSED);
    fail_all(r, e);
    begin_connect(r);
}

static bool greeting_answer(struct lt_redis *r, const redisReply *reply) {
    // LOADING, MASTERDOWN, NOAUTH, WRONGPASS, NOPERM: nothing can be done on this connection
    if (reply->type == REDIS_REPLY_ERROR) {
        if (r->failures == 0 || strncmp(reply->str, "LOADING", 7) != 0)
            LT_LOG(LT_LOG_WARN, "redis_refuses", lt_fs("address", lt_target_text(r->target)), lt_fs("error", reply->str));
        return false;
    }
    if (--r->greetings == 0) {
        set_state(r, READY);
        watch(r);
        lt_loop_defer(r->loop, &r->flush);
    }
    return true;
}

// One answer off the reader. False: none is whole yet, or the connection has ended.
static bool one_answer(struct lt_redis *r) {
    void *object = NULL;
    if (redisReaderGetReply(r->reader, &object) != REDIS_OK) {
        connection_failed(r, LT_ERR_PROTOCOL);
        return false;
    }
    redisReply *reply = object;
    if (!reply)
        return false;
    bool go_on = true;
    if (r->greetings) {
        if (!greeting_answer(r, reply)) {
            connection_failed(r, LT_ERR_REFUSED);
            go_on = false;
        }
    } else if (r->n == 0) {
        connection_failed(r, LT_ERR_PROTOCOL);
        go_on = false;
    } else {
        struct lt_redis_call *call = take_oldest(r);
        if (call)
            call->done(call, LT_OK, reply);
        go_on = r->reader != NULL;
    }
    freeReplyObject(reply);
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
    if (r->state == READY)
        watch(r);
}

static void on_refuse(struct lt_task *t) {
    struct lt_redis *r = LT_ENTRY(t, struct lt_redis, refuse);
    struct lt_list batch;
    lt_list_init(&batch);
    while (!lt_list_empty(&r->refused)) {
        struct lt_list *node = r->refused.next;
        lt_list_remove(node);
        lt_list_append(&batch, node);
    }
    while (!lt_list_empty(&batch)) {
        struct lt_redis_call *call = LT_ENTRY(batch.next, struct lt_redis_call, node);
        lt_list_remove(&call->node);
        call->busy = false;
        call->done(call, call->refused, NULL);
    }
}

static void refuse(struct lt_redis *r, struct lt_redis_call *call, enum lt_err e) {
    call->refused = e;
    lt_list_append(&r->refused, &call->node);
    lt_loop_defer(r->loop, &r->refuse);
}

static bool push(struct lt_redis *r, struct lt_redis_call *call) {
    if (r->n == r->cap) {
        unsigned cap = r->cap ? r->cap * 2 : 64;
        struct waiting *ring = cap <= WAITING_MAX ? malloc(cap * sizeof *ring) : NULL;
        if (!ring)
            return false;
        for (unsigned i = 0; i < r->n; i++)
            ring[i] = r->ring[(r->head + i) & (r->cap - 1)];
        free(r->ring);
        r->ring = ring;
        r->cap = cap;
        r->head = 0;
    }
    r->ring[(r->head + r->n++) & (r->cap - 1)] =
        (struct waiting){.call = call, .deadline = lt_clock_mono() + r->options.timeout};
    return true;
}

void lt_redis_send(struct lt_redis *r, struct lt_redis_call *call, const struct lt_span *args, unsigned n) {
    call->client = r;
    call->busy = true;
    lt_list_init(&call->node);
    if (r->state == BACKOFF) {
        refuse(r, call, LT_ERR_REFUSED);
        return;
    }
    if (!format(&r->queued, args, n) || !push(r, call)) {
        refuse(r, call, LT_ERR_LIMIT);
        return;
    }
    if (r->n == 1)
        watch(r);
    lt_loop_defer(r->loop, &r->flush);
}

void lt_redis_cancel(struct lt_redis_call *call) {
    if (!call->busy)
        return;
    struct lt_redis *r = call->client;
    call->busy = false;
    lt_list_remove(&call->node);
    for (unsigned i = 0; i < r->n; i++) {
        struct waiting *w = &r->ring[(r->head + i) & (r->cap - 1)];
        if (w->call == call)
            w->call = NULL;
    }
}

bool lt_redis_is_open(const struct lt_redis *r) {
    return r->failures > 0;
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
    char *texts = calloc(1, o->address.n + o->user.n + o->password.n + 3), *at = texts;
    struct lt_target *target = lt_target_get(o->address);
    if (!r || !texts || !target) {
        free(r);
        free(texts);
        lt_target_put(target);
        return NULL;
    }
    *r = (struct lt_redis){.loop = loop, .target = target, .options = *o, .texts = texts, .stream = {.fd = -1}};
    r->options.address = copy_text(&at, o->address);
    r->options.user = copy_text(&at, o->user);
    r->options.password = copy_text(&at, o->password);
    r->seed = (unsigned)lt_clock_wall() ^ (unsigned)(uintptr_t)r;
    lt_buf_init(&r->queued, OUT_MAX);
    lt_list_init(&r->refused);
    lt_timer_init(&r->timer, on_timer);
    lt_task_init(&r->flush, on_flush);
    lt_task_init(&r->refuse, on_refuse);
    return r;
}

void lt_redis_free(struct lt_redis *r) {
    if (!r)
        return;
    disconnect(r);
    lt_timer_clear(r->loop, &r->timer);
    r->state = BACKOFF; // what a callback sends now is refused
    fail_all(r, LT_ERR_CANCELED);
    on_refuse(&r->refuse);
    lt_task_cancel(&r->flush);
    lt_task_cancel(&r->refuse);
    lt_target_put(r->target);
    free(r->ring);
    free(r->texts);
    free(r);
}
