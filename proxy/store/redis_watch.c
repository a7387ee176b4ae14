// SPDX-License-Identifier: Apache-2.0
#include "store/redis_watch.h"

#include "base/clock.h"
#include "base/log.h"
#include "store/driver.h"

#include <hiredis/hiredis.h>
#include <stdatomic.h>
#include <stdio.h>

enum { ROUND_MS = 60000, BETWEEN_MS = 200, PAUSE_MS = 1000 };

// Which store of the process looks; the others try again to be it in every round.
static _Atomic(struct redis_watch *) watching;

static void ask(struct redis_watch *w, struct lt_span section,
                void (*done)(struct lt_redis_call *, enum lt_err, const redisReply *)) {
    struct lt_span args[] = {LT_S("INFO"), section};
    w->call = (struct lt_redis_call){.done = done};
    lt_redis_send(w->node, &w->call, args, 2);
}

// The value of a line "name:value\r\n" of INFO. Empty: there is none.
static struct lt_span value_of(const redisReply *info, const char *name) {
    const char *line = strstr(info->str, name), *end = line ? strchr(line, '\r') : NULL;
    size_t n = strlen(name);
    return end ? lt_span(line + n, (size_t)(end - line) - n) : lt_span("", 0);
}

static void next_node(struct redis_watch *w) {
    w->turn++;
    bool more = w->nth(w->store, w->turn) != NULL;
    if (!more)
        w->turn = 0;
    lt_timer_set(w->store->loop, &w->timer, more ? BETWEEN_MS : ROUND_MS);
}

static void on_stats(struct lt_redis_call *call, enum lt_err e, const redisReply *reply) {
    struct redis_watch *w = LT_ENTRY(call, struct redis_watch, call);
    unsigned long long evicted;
    if (e == LT_ERR_CANCELED)
        return;
    if (reply && reply->type == REDIS_REPLY_STRING &&
        lt_span_to_u64(value_of(reply, "\nevicted_keys:"), UINT64_MAX - 1, &evicted)) {
        uint64_t *note = lt_redis_note(w->node); // one more than there were; 0: this is the first look
        uint64_t before = *note && evicted + 1 >= *note ? *note - 1 : *note ? 0 : evicted;
        *note = evicted + 1;
        if (evicted > before) {
            lt_store_count(w->store, LT_STORE_EVICTED, evicted - before);
            LT_LOG(
                LT_LOG_WARN, "store_evicts", lt_fs("address", lt_redis_address(w->node)),
                lt_fn("keys", (int64_t)(evicted - before)),
                lt_fs("do", "sessions may be among them: set maxmemory-policy noeviction, and give Redis more memory"));
        }
    }
    next_node(w);
}

static void judge_policy(struct redis_watch *w, struct lt_span limit, struct lt_span policy) {
    bool keeps = policy.n == 0 || policy.n >= sizeof w->policy || lt_span_eq(policy, LT_S("noeviction"));
    if (keeps || limit.n == 0 || lt_span_eq(limit, LT_S("0")) || lt_span_eq(policy, lt_span_cstr(w->policy)))
        return;
    snprintf(w->policy, sizeof w->policy, "%.*s", (int)policy.n, policy.p);
    LT_LOG(LT_LOG_WARN, "store_may_evict", lt_fs("address", lt_redis_address(w->node)), lt_f("maxmemory", limit),
           lt_f("maxmemory_policy", policy),
           lt_fs("do", "Redis will throw sessions away when its memory is full: write \"maxmemory-policy noeviction\" "
                       "in redis.conf"));
}

static void on_memory(struct lt_redis_call *call, enum lt_err e, const redisReply *reply) {
    struct redis_watch *w = LT_ENTRY(call, struct redis_watch, call);
    if (e == LT_ERR_CANCELED)
        return;
    if (!reply || reply->type != REDIS_REPLY_STRING) {
        if (reply && reply->type == REDIS_REPLY_ERROR && !w->refused)
            LT_LOG(LT_LOG_INFO, "store_unwatched", lt_fs("error", reply->str),
                   lt_fs("do", "give lethe's user the right +info, and it warns when Redis throws sessions away"));
        w->refused = w->refused || (reply && reply->type == REDIS_REPLY_ERROR);
        next_node(w);
        return;
    }
    judge_policy(w, value_of(reply, "\nmaxmemory:"), value_of(reply, "\nmaxmemory_policy:"));
    ask(w, LT_S("stats"), on_stats);
}

static void on_timer(struct lt_timer *t) {
    struct redis_watch *w = LT_ENTRY(t, struct redis_watch, timer), *nobody = NULL;
    bool mine = atomic_load(&watching) == w || atomic_compare_exchange_strong(&watching, &nobody, w);
    w->node = mine && !w->call.busy ? w->nth(w->store, w->turn) : NULL;
    lt_timer_set(w->store->loop, &w->timer, ROUND_MS);
    if (!w->node)
        return;
    w->looked = lt_clock_mono();
    ask(w, LT_S("memory"), on_memory);
}

void redis_watch_soon(struct redis_watch *w) {
    if (!w->call.busy && lt_clock_mono() - w->looked >= PAUSE_MS) {
        w->turn = 0;
        lt_timer_set(w->store->loop, &w->timer, 0);
    }
}

void redis_watch_init(struct redis_watch *w, struct lt_store *s, struct lt_redis *(*nth)(struct lt_store *s, unsigned i)) {
    *w = (struct redis_watch){.store = s, .nth = nth, .looked = -PAUSE_MS};
    lt_timer_init(&w->timer, on_timer);
}

void redis_watch_fini(struct redis_watch *w) {
    struct redis_watch *me = w;
    atomic_compare_exchange_strong(&watching, &me, NULL);
    lt_redis_cancel(&w->call);
    lt_timer_clear(w->store->loop, &w->timer);
}
