// SPDX-License-Identifier: Apache-2.0
// Sessions in Redis. A record is a hash  <prefix>:{<token's hash>}  with the fields
//   d  the sealed record; empty is a tombstone      e  its absolute end, wall ms
//   f  the last fence that was given out, or without locks the version      a  the tag, if there is one
// and a lock  <prefix>:{<token's hash>}:lock  whose value is its owner. The braces keep both in one slot of a cluster.
// Every operation is one script and one round trip, and may be repeated without harm when an answer was lost.
//
//               ┌────────── AGAIN: sent anew at once, to where it belongs now ◀──┐
//   submit ──▶ sent ──▶ answer ──▶ finished                                      │
//               ▲          └─ an error, or none ──▶ LATER: waits AGAIN_MS ───────┘ FINAL: finished
//
// From the first further try on, a timer holds the whole operation to its time limit.
#include "store/driver.h"

#include "base/clock.h"
#include "base/log.h"
#include "net/redis_cluster.h"
#include "net/redis_sentinel.h"
#include "store/redis_conf.h"
#include "store/redis_scan.h"
#include "store/redis_scripts.h"
#include "store/redis_watch.h"

#include <assert.h>
#include <hiredis/hiredis.h>
#include <stdlib.h>

enum { AGAIN_MS = 30, AT_ONCE_MAX = 8, SAY_MS = 1000, ARENA_MAX = 16384 };

struct redis_store {
    struct lt_store store;
    struct lt_redis_owner owner;
    struct lt_arena arena; // texts of the URL
    struct lt_redis_place place;
    struct lt_tls_context *tls;
    struct lt_redis *one; // the server, or the master that the sentinels name; NULL: a cluster
    struct lt_redis_sentinel *sentinel;
    struct lt_redis_cluster *cluster;
    struct redis_watch watch;
    struct lt_list waiting; // commands between two tries
    bool closing;
    struct {
        int64_t at; // when this was last said
        int64_t unsaid;
    } errors, full;
    char digests[LT_STORE_KINDS][REDIS_DIGEST + 1];
};

// An operation on its way, in the op's room for the driver.
struct command {
    struct lt_redis_call call; // its node links it into `waiting`
    struct lt_timer timer; // between two tries: the end of the pause; while a further try is under way: of our patience
    struct lt_store_op *op;
    unsigned tries;
    bool whole_script, waits;
};
_Static_assert(sizeof(struct command) <= LT_STORE_DRIVER_ROOM, "lt_store_op.driver");

enum next { FINAL, AGAIN, LATER };

static struct command *command_of(struct lt_store_op *op) {
    return (struct command *)op->driver;
}

static struct redis_store *store_of(const struct lt_store_op *op) {
    return (struct redis_store *)op->store;
}

static struct lt_span number(char out[LT_NUMBER_TEXT], int64_t value) {
    assert(value >= 0); // times and durations
    return lt_span_number(out, (uint64_t)value);
}

// "<prefix>:{<hash>" and what ends the name.
enum { KEY_MAX = 160 };
static struct lt_span key_of(char out[KEY_MAX], const struct lt_store_op *op, struct lt_span end) {
    const struct lt_span pieces[] = {lt_span_cstr(op->store->prefix), LT_S(":{"), lt_span_cstr(op->hash), end};
    size_t n = 0;
    for (unsigned i = 0; i < sizeof pieces / sizeof *pieces; n += pieces[i++].n)
        memcpy(out + n, pieces[i].p, pieces[i].n);
    return lt_span(out, n);
}

// While a slot of a cluster moves, an operation on one key goes on undisturbed, and one on two has to wait (TRYAGAIN): so
// the lock is named only where it can come into it.
static bool needs_lock(const struct lt_store_op *op) {
    return op->lease || op->release || op->owner[0] || op->kind == LT_STORE_LOCK || op->kind == LT_STORE_RENEW ||
           op->kind == LT_STORE_RELEASE;
}

static struct lt_redis *node_of(const struct lt_store_op *op) {
    const struct redis_store *s = store_of(op);
    return s->one ? s->one : lt_redis_cluster_node(s->cluster, lt_redis_slot(lt_span_cstr(op->hash)));
}

static void send_op(struct lt_store_op *op, struct lt_redis *node) {
    const struct redis_store *s = store_of(op);
    struct command *command = command_of(op);
    char key[KEY_MAX], lock[KEY_MAX], texts[5][LT_NUMBER_TEXT];
    static const struct lt_span conditions[] = {{"0", 1}, {"1", 1}, {"2", 1}};
    bool both = needs_lock(op);
    unsigned n_args = 0;
    struct lt_span args[15];
    args[n_args++] = command->whole_script ? LT_S("EVAL") : LT_S("EVALSHA");
    args[n_args++] = command->whole_script ? redis_script(op->kind) : lt_span(s->digests[op->kind], REDIS_DIGEST);
    args[n_args++] = both ? LT_S("2") : LT_S("1");
    args[n_args++] = key_of(key, op, LT_S("}"));
    if (both)
        args[n_args++] = key_of(lock, op, LT_S("}:lock"));
    args[n_args++] = lt_span_cstr(op->owner);
    args[n_args++] = number(texts[0], op->lease);
    args[n_args++] = number(texts[1], op->ttl);
    args[n_args++] = number(texts[2], lt_clock_wall());
    if (op->kind != LT_STORE_LOAD) { // its script reads no more than these
        args[n_args++] = lt_buf_span(&op->data);
        args[n_args++] = number(texts[3], op->expires);
        args[n_args++] = lt_span_number(texts[4], op->fence);
        args[n_args++] = op->release ? LT_S("1") : LT_S("0");
        args[n_args++] = conditions[op->condition];
        args[n_args++] = lt_span_cstr(op->tag);
    }
    lt_redis_send(node, &command->call, args, n_args);
}

// --- the answer ---

static enum lt_store_result verdict(const redisReply *word) {
    static const struct lt_span words[] = {{"ok", 2}, {"miss", 4}, {"ended", 5}, {"busy", 4}, {"fenced", 6}};
    for (unsigned i = 0; word->type == REDIS_REPLY_STRING && i < sizeof words / sizeof *words; i++)
        if (lt_span_eq(lt_span(word->str, word->len), words[i]))
            return (enum lt_store_result)i;
    return LT_STORE_DOWN;
}

static void read_reply(struct lt_store_op *op, const redisReply *reply) {
    op->result = LT_STORE_DOWN;
    if (reply->type != REDIS_REPLY_ARRAY || reply->elements == 0)
        return;
    op->result = verdict(reply->element[0]);
    if (op->result != LT_STORE_OK || reply->elements < 3)
        return;
    const redisReply *data = reply->element[1], *fence = reply->element[2];
    op->fence = fence->type == REDIS_REPLY_INTEGER ? (uint64_t)fence->integer : 0;
    if (op->kind == LT_STORE_LOAD) {
        lt_buf_consume(&op->data, op->data.len);
        if (data->type != REDIS_REPLY_STRING || !lt_buf_append(&op->data, lt_span(data->str, data->len)))
            op->result = LT_STORE_DOWN;
    }
}

// --- no good answer ---

// One line a second for each kind of trouble, however many operations meet it.
static void complain(struct redis_store *s, const char *error) {
    bool is_full = strstr(error, "OOM command not allowed") != NULL; // older ones wrap what a script met
    int64_t now = lt_clock_mono();
    if (is_full)
        lt_store_count(&s->store, LT_STORE_FULL, 1);
    int64_t *at = is_full ? &s->full.at : &s->errors.at, *unsaid = is_full ? &s->full.unsaid : &s->errors.unsaid;
    if (*at && now - *at < SAY_MS) {
        ++*unsaid;
        return;
    }
    if (is_full)
        LT_LOG(LT_LOG_ERROR, "store_full", lt_fs("error", error), lt_fn("more", *unsaid),
               lt_fs("do", "Redis has reached maxmemory, no session can be written: give it more memory, or shorten "
                           "session.idle_ttl"));
    else
        LT_LOG(LT_LOG_WARN, "store_error", lt_fs("error", error), lt_fn("more", *unsaid));
    *at = now;
    *unsaid = 0;
}

// A write that was not sent, or whose answer was lost, is tried again for as long as somebody can wait for it: a look-up may fail at
// once, but a lock that is not given back stops its session. Repeating does no harm.
static bool is_patient(const struct lt_store_op *op) {
    return op->kind != LT_STORE_LOAD && op->kind != LT_STORE_RENEW;
}

static int64_t patience_left(const struct lt_store_op *op) {
    int64_t patience = op->store->timeout;
    if (op->kind == LT_STORE_RELEASE && op->lease > patience)
        patience = op->lease;
    return op->began + patience - lt_clock_mono();
}

static enum next judge_error(struct command *command, const redisReply *reply, struct lt_redis **node) {
    struct lt_store_op *op = command->op;
    struct redis_store *s = store_of(op);
    struct lt_span error = lt_span(reply->str, reply->len);
    if (lt_span_starts(error, LT_S("NOSCRIPT"))) {
        command->whole_script = true;
        return AGAIN;
    }
    if (s->sentinel && strstr(reply->str, "READONLY")) {
        lt_redis_move(s->one); // it was a master when we connected
        return LATER;
    }
    enum lt_redis_advice advice =
        s->cluster ? lt_redis_cluster_judge(s->cluster, error, command->call.client, node) : LT_REDIS_FINAL;
    if (advice == LT_REDIS_AGAIN)
        return AGAIN;
    if (advice == LT_REDIS_LATER || (advice == LT_REDIS_AWAY && is_patient(op)))
        return LATER;
    complain(s, reply->str);
    return FINAL;
}

static enum next judge_silence(struct command *command, enum lt_err e) {
    const struct redis_store *s = store_of(command->op);
    if (s->closing)
        return FINAL;
    if ((e == LT_ERR_CLOSED || e == LT_ERR_RESET || e == LT_ERR_CANCELED) && command->tries < 2)
        return AGAIN;
    if (s->cluster && node_of(command->op) != command->call.client && !lt_redis_is_open(node_of(command->op)))
        return AGAIN; // the map has changed, or there is none yet and another seed is to be asked
    return is_patient(command->op) && e != LT_ERR_LIMIT && e != LT_ERR_MEMORY ? LATER : FINAL;
}

// --- tries ---

static void finish(struct command *command) {
    lt_timer_clear(command->op->store->loop, &command->timer);
    lt_store_finish(command->op);
}

static void give_up(struct command *command) {
    command->op->result = LT_STORE_DOWN;
    finish(command);
}

static void try_again(struct command *command, struct lt_redis *node) {
    struct lt_store_op *op = command->op;
    command->tries++;
    command->call.asking = node != NULL;
    lt_timer_set(op->store->loop, &command->timer, patience_left(op));
    send_op(op, node ? node : node_of(op));
}

static void wait_a_moment(struct command *command) {
    struct redis_store *s = store_of(command->op);
    command->waits = true;
    lt_list_append(&s->waiting, &command->call.node);
    lt_timer_set(s->store.loop, &command->timer, AGAIN_MS);
}

static void on_timer(struct lt_timer *t) {
    struct command *command = LT_ENTRY(t, struct command, timer);
    if (command->waits) {
        command->waits = false;
        lt_list_remove(&command->call.node);
        try_again(command, NULL);
    } else {
        lt_redis_cancel(&command->call);
        give_up(command);
    }
}

static void on_reply(struct lt_redis_call *call, enum lt_err e, const redisReply *reply) {
    struct command *command = LT_ENTRY(call, struct command, call);
    if (reply && reply->type != REDIS_REPLY_ERROR) {
        read_reply(command->op, reply);
        finish(command);
        return;
    }
    struct lt_redis *node = NULL;
    enum next next = reply ? judge_error(command, reply, &node) : judge_silence(command, e);
    if (next == AGAIN && command->tries < AT_ONCE_MAX && patience_left(command->op) > 0)
        try_again(command, node);
    else if (next != FINAL && patience_left(command->op) > AGAIN_MS)
        wait_a_moment(command);
    else
        give_up(command);
}

static void submit(struct lt_store *s, struct lt_store_op *op) {
    struct command *command = command_of(op);
    (void)s;
    *command = (struct command){.op = op, .call = {.done = on_reply}};
    lt_timer_init(&command->timer, on_timer);
    send_op(op, node_of(op));
}

// --- life ---

static bool breaker_is_open(const struct lt_store *s) {
    const struct redis_store *r = (const struct redis_store *)s;
    return r->one ? lt_redis_is_open(r->one) : lt_redis_cluster_is_open(r->cluster);
}

static void happened(struct lt_redis_owner *o, struct lt_redis *node, enum lt_redis_event e) {
    struct redis_store *s = LT_ENTRY(o, struct redis_store, owner);
    (void)node;
    if (e == LT_REDIS_READY)
        redis_watch_soon(&s->watch);
    else
        lt_store_breaker(&s->store, e == LT_REDIS_OPENED);
}

static struct lt_redis *nth(struct lt_store *s, unsigned i) {
    struct redis_store *r = (struct redis_store *)s;
    struct lt_redis *node = r->cluster ? lt_redis_cluster_nth(r->cluster, i) : NULL;
    if (r->cluster && !node && i == 0)
        lt_redis_cluster_node(r->cluster, 0); // nothing has been asked yet: this asks for the map
    if (r->cluster)
        return node;
    return i == 0 ? r->one : NULL;
}

static void scan(struct lt_store *s, struct lt_store_scan *scan) {
    redis_scan_begin(s, scan, nth);
}

static bool connect_to(struct redis_store *s, const struct lt_store_options *o) {
    const struct lt_redis_place *place = &s->place;
    const struct redis_conf *conf = o->config ? lt_config_group(o->config, "redis") : NULL;
    enum lt_tls_file wrong;
    const char *why;
    if (place->tls && !(s->tls = redis_conf_tls(conf, &wrong, &why))) {
        LT_LOG(LT_LOG_ERROR, "redis_tls_unusable", lt_fs("why", why));
        return false;
    }
    struct lt_redis_options options = {
        .user = place->user,
        .password = place->password,
        .database = place->database,
        .timeout = o->timeout,
        .tls = s->tls,
        .server_name = conf ? conf->server_name : lt_span("", 0),
        .owner = &s->owner,
    };
    if (place->kind == LT_REDIS_CLUSTER)
        return (s->cluster = lt_redis_cluster_new(o->loop, &options, place->seeds, place->n_seeds)) != NULL;
    if (place->kind == LT_REDIS_SENTINEL) {
        s->sentinel = lt_redis_sentinel_new(o->loop, &options, place);
        s->one = s->sentinel ? lt_redis_sentinel_master(s->sentinel) : NULL;
        return s->one != NULL;
    }
    options.address = place->seeds[0];
    return (s->one = lt_redis_new(o->loop, &options)) != NULL;
}

static void close_store(struct lt_store *s) {
    struct redis_store *r = (struct redis_store *)s;
    r->closing = true;
    redis_watch_fini(&r->watch);
    while (!lt_list_empty(&r->waiting)) {
        struct command *command = LT_ENTRY(LT_ENTRY(r->waiting.next, struct lt_redis_call, node), struct command, call);
        lt_list_remove(&command->call.node);
        give_up(command);
    }
    lt_redis_cluster_free(r->cluster);
    if (r->sentinel)
        lt_redis_sentinel_free(r->sentinel);
    else
        lt_redis_free(r->one);
    lt_tls_context_free(r->tls);
    lt_arena_fini(&r->arena);
    free(r);
}

static struct lt_store *open_store(const struct lt_store_options *o) {
    struct redis_store *s = calloc(1, sizeof *s);
    const char *error;
    if (!s)
        return NULL;
    s->store.loop = o->loop;
    s->owner = (struct lt_redis_owner){.happened = happened};
    lt_arena_init(&s->arena, ARENA_MAX);
    lt_list_init(&s->waiting);
    redis_watch_init(&s->watch, &s->store, nth);
    for (unsigned k = 0; k < LT_STORE_KINDS; k++)
        redis_script_digest((enum lt_store_kind)k, s->digests[k]);
    if (lt_redis_url(o->url, &s->arena, &s->place, &error) && connect_to(s, o))
        return &s->store;
    close_store(&s->store);
    return NULL;
}

static const char *check(struct lt_span url) {
    struct lt_arena arena;
    struct lt_redis_place ignored;
    const char *error = NULL;
    lt_arena_init(&arena, ARENA_MAX);
    bool ok = lt_redis_url(url, &arena, &ignored, &error);
    lt_arena_fini(&arena);
    return ok ? NULL : error;
}

const struct lt_store_driver lt_store_redis = {
    .scheme = "redis", // redis://, rediss://, redis+unix://, redis+sentinel://, …
    .check = check,
    .open = open_store,
    .close = close_store,
    .submit = submit,
    .breaker_is_open = breaker_is_open,
    .scan = scan,
};
