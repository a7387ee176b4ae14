// SPDX-License-Identifier: Apache-2.0
// The greeting is "mn" and "stats settings": the first one only a server that knows the meta protocol answers; among the others is the
// largest item that the server takes.
#include "net/memcached.h"

#include "base/log.h"
#include "net/stream.h"

#include <stdlib.h>

enum { OUT_MAX = 128 << 20, READ_SIZE = 65536 };

struct lt_memcached {
    struct lt_link link;
    struct lt_stream stream;
    struct lt_buf in, queued; // `queued`: commands of this turn, or until the greeting is answered
    struct lt_target *target;
    unsigned turn;
    size_t value_max, item_max;
};

static struct lt_memcached *of_link(struct lt_link *l) {
    return LT_ENTRY(l, struct lt_memcached, link);
}

static struct lt_memcached *of_stream(struct lt_stream *s) {
    return LT_ENTRY(s, struct lt_memcached, stream);
}

static void on_readable(struct lt_stream *s);

static void on_drained(struct lt_stream *s) {
    struct lt_memcached *m = of_stream(s);
    static const struct lt_span greeting = {"mn\r\nstats settings\r\n", 20};
    if (m->link.state != LT_LINK_CONNECTING || s->reading)
        return;
    enum lt_err e = lt_stream_connected(s);
    if (e == LT_OK)
        e = lt_stream_write(s, &greeting, 1);
    if (e != LT_OK)
        lt_link_failed(&m->link, e);
    else
        lt_stream_want_read(s, true);
}

static void on_broken(struct lt_stream *s, enum lt_err e) {
    lt_link_lost(&of_stream(s)->link, e);
}

static const struct lt_stream_ops stream_ops = {on_readable, on_drained, on_broken};

static enum lt_err begin_connect(struct lt_link *l) {
    struct lt_memcached *m = of_link(l);
    struct lt_address a;
    enum lt_err e = lt_target_address(m->target, m->turn++, &a);
    int fd = e == LT_OK ? lt_connect_begin(&a, &e) : -1;
    if (fd < 0)
        return e;
    lt_stream_open(&m->stream, l->loop, fd, &stream_ops, OUT_MAX);
    lt_stream_await_connect(&m->stream);
    return LT_OK;
}

static void disconnect(struct lt_link *l) {
    struct lt_memcached *m = of_link(l);
    lt_stream_close(&m->stream);
    lt_buf_fini(&m->in);
    lt_buf_fini(&m->queued);
}

static void flush(struct lt_link *l) {
    struct lt_memcached *m = of_link(l);
    struct lt_span text = lt_buf_span(&m->queued);
    if (text.n == 0)
        return;
    enum lt_err e = lt_stream_write(&m->stream, &text, 1);
    lt_buf_fini(&m->queued);
    if (e != LT_OK)
        lt_link_lost(l, e);
}

static void fail(struct lt_link_call *c, enum lt_err e) {
    struct lt_memcached_call *call = LT_ENTRY(c, struct lt_memcached_call, link);
    call->done(call, e, NULL);
}

static const struct lt_link_ops link_ops = {"memcached", begin_connect, disconnect, flush, fail};

static void greeted(struct lt_memcached *m, const struct lt_memcached_answer *a) {
    unsigned long long size;
    static const struct lt_span setting = {"STAT item_size_max ", 19};
    if (a->word == LT_MEMCACHED_STAT && lt_span_starts(a->line, setting) &&
        lt_span_to_u64(lt_span(a->line.p + setting.n, a->line.n - setting.n), SIZE_MAX, &size))
        m->item_max = (size_t)size;
    if (a->word == LT_MEMCACHED_END) {
        lt_link_ready(&m->link);
    } else if (a->word != LT_MEMCACHED_STAT && a->word != LT_MEMCACHED_MN) {
        LT_LOG(LT_LOG_WARN, "memcached_refuses", lt_fs("address", m->link.where), lt_f("error", a->line),
               lt_fs("do", "use memcached 1.6 or newer, without -Y"));
        lt_link_failed(&m->link, LT_ERR_REFUSED);
    }
}

static void answered(struct lt_memcached *m, const struct lt_memcached_answer *a) {
    if (m->link.n == 0) {
        lt_link_failed(&m->link, LT_ERR_PROTOCOL);
        return;
    }
    struct lt_memcached_call *call = LT_ENTRY(m->link.waiting.next, struct lt_memcached_call, link.node);
    if (++call->answered < call->commands) {
        call->first = a->word;
        return;
    }
    lt_link_take(&m->link);
    call->done(call, LT_OK, a);
}

// False: no answer is whole, or the connection has ended.
static bool one_answer(struct lt_memcached *m) {
    struct lt_memcached_answer a;
    size_t used;
    enum lt_err e = lt_memcached_parse(lt_buf_span(&m->in), m->value_max, &a, &used);
    if (e != LT_OK) {
        LT_LOG(LT_LOG_WARN, "memcached_refuses", lt_fs("address", m->link.where), lt_fs("error", lt_err_name(e)));
        lt_link_failed(&m->link, e);
        return false;
    }
    if (used == 0)
        return false;
    if (m->link.state == LT_LINK_READY)
        answered(m, &a);
    else
        greeted(m, &a);
    if (m->in.len == 0) // disconnected from inside
        return false;
    lt_buf_consume(&m->in, used);
    return m->in.len > 0;
}

static void on_readable(struct lt_stream *s) {
    struct lt_memcached *m = of_stream(s);
    size_t got = 0;
    char *room = lt_buf_reserve(&m->in, READ_SIZE);
    enum lt_err e = room ? lt_stream_read(s, room, READ_SIZE, &got) : LT_ERR_LIMIT;
    if (e != LT_OK) {
        lt_link_lost(&m->link, e);
        return;
    }
    lt_buf_grew(&m->in, got);
    while (m->in.len && one_answer(m)) {
    }
    if (m->in.len == 0)
        lt_buf_fini(&m->in); // a connection that idles holds no buffer
    lt_link_watch(&m->link);
}

void lt_memcached_send(struct lt_memcached *m, struct lt_memcached_call *call, const struct lt_span *pieces, unsigned n) {
    size_t before = m->queued.len;
    lt_list_init(&call->link.node);
    call->answered = 0;
    for (unsigned i = 0; i < n; i++)
        if (!lt_buf_append(&m->queued, pieces[i])) {
            m->queued.len = before;
            lt_link_refuse(&m->link, &call->link, LT_ERR_LIMIT);
            return;
        }
    if (!lt_link_push(&m->link, &call->link))
        m->queued.len = before;
}

static void free_ghost(struct lt_memcached_call *ghost, enum lt_err e, const struct lt_memcached_answer *a) {
    (void)e;
    (void)a;
    free(ghost);
}

// Its answer will come all the same: a ghost takes that.
bool lt_memcached_cancel(struct lt_memcached *m, struct lt_memcached_call *call) {
    struct lt_memcached_call *ghost = malloc(sizeof *ghost);
    if (!ghost)
        return false;
    *ghost = *call;
    ghost->done = free_ghost;
    lt_link_replace(&m->link, &call->link, &ghost->link);
    return true;
}

size_t lt_memcached_item_max(const struct lt_memcached *m) {
    return m->item_max;
}

void lt_memcached_on_breaker(struct lt_memcached *m, void (*on_breaker)(void *user, bool opened), void *user) {
    m->link.on_breaker = on_breaker;
    m->link.user = user;
}

bool lt_memcached_is_open(const struct lt_memcached *m) {
    return lt_link_is_open(&m->link);
}

struct lt_memcached *lt_memcached_new(struct lt_loop *loop, struct lt_span address, int64_t timeout, size_t value_max) {
    struct lt_memcached *m = calloc(1, sizeof *m);
    struct lt_target *target = lt_target_get(address);
    if (!m || !target) {
        free(m);
        lt_target_put(target);
        return NULL;
    }
    *m = (struct lt_memcached){.stream = {.fd = -1}, .target = target, .value_max = value_max};
    lt_link_init(&m->link, &link_ops, loop, timeout, lt_target_text(target));
    lt_buf_init(&m->queued, OUT_MAX);
    lt_buf_init(&m->in, value_max + 2 * READ_SIZE);
    return m;
}

void lt_memcached_free(struct lt_memcached *m) {
    if (!m)
        return;
    lt_link_fini(&m->link);
    lt_buf_fini(&m->queued);
    lt_target_put(m->target);
    free(m);
}
