// SPDX-License-Identifier: Apache-2.0
// All sentinels are asked at once. What more than half of them say counts as soon as they have said it; when the others do not
// answer, what most of those say that do: one sentinel alone must be enough to find the master when nothing is wrong with it.
//
// A fail-over that is ordered (SENTINEL FAILOVER) promotes a replica while the old master still takes writes, which are lost. The
// sentinels announce it a tick (100 ms) before: from then on to the switch nothing is sent to the old master.
#include "net/redis_sentinel.h"

#include "base/clock.h"
#include "base/log.h"
#include "net/redis_slot.h"

#include <hiredis/hiredis.h>
#include <stdlib.h>

enum { POLL_MS = 10000, PAUSE_MS = 10000, TIMEOUT_MIN_MS = 50, AGAIN_MS = 50 };

struct sentinel {
    struct lt_redis_sentinel *all;
    struct lt_redis_owner listens; // owner of `listen`
    struct lt_redis *ask, *listen; // a subscribed connection takes no other commands
    struct lt_redis_call query, subscribe;
    char answer[LT_ADDRESS_TEXT]; // empty: none
};

struct lt_redis_sentinel {
    struct lt_loop *loop;
    struct lt_redis_owner owner;     // of the master's client
    struct lt_redis_owner *forwards; // whom that is told to, or NULL
    struct lt_redis *master;
    struct sentinel sentinels[LT_REDIS_SEEDS];
    unsigned n, open; // open: queries under way
    bool decided;     // this round
    bool logged;      // that nobody knows
    bool nameless;    // no sentinel's name had an address, and none has answered since
    int64_t paused;   // until then (mono ms) the old master is not to be used
    struct lt_timer poll;
    unsigned seed;
    char name[128];
    char moved_to[LT_ADDRESS_TEXT]; // what was decided last
};

static void query_all(struct lt_redis_sentinel *s);

// The answer that most have given, and how many.
static const char *most(const struct lt_redis_sentinel *s, unsigned *votes) {
    const char *best = "";
    *votes = 0;
    for (unsigned i = 0; i < s->n; i++) {
        unsigned n = 0;
        for (unsigned j = 0; j < s->n; j++)
            n += strcmp(s->sentinels[i].answer, s->sentinels[j].answer) == 0;
        if (s->sentinels[i].answer[0] && n > *votes) {
            best = s->sentinels[i].answer;
            *votes = n;
        }
    }
    return best;
}

static bool has_resolved_any(const struct lt_redis_sentinel *s) {
    for (unsigned i = 0; i < s->n; i++)
        if (lt_redis_has_address(s->sentinels[i].ask))
            return true;
    return false;
}

static void decide(struct lt_redis_sentinel *s) {
    unsigned votes;
    const char *address = most(s, &votes);
    if (s->decided || (s->open && votes * 2 <= s->n))
        return;
    s->decided = true;
    if (s->paused > lt_clock_mono() && strcmp(address, lt_redis_address(s->master)) == 0) {
        lt_redis_located(s->master, lt_span("", 0));
        return;
    }
    s->nameless = s->nameless || !has_resolved_any(s);
    if (!*address && s->nameless && !lt_redis_is_open(s->master)) { // commands wait, until their time is over
        lt_timer_set(s->loop, &s->poll, AGAIN_MS);
        return;
    }
    if (!*address && !s->logged)
        LT_LOG(LT_LOG_WARN, "sentinel_knows_no_master", lt_fs("master", s->name),
               lt_fs("do", "see that the sentinels run, and that they watch a master of this name"));
    s->logged = !*address;
    bool elsewhere = *address && *lt_redis_address(s->master) && strcmp(address, lt_redis_address(s->master)) != 0;
    if (elsewhere && strcmp(address, s->moved_to) != 0)
        LT_LOG(LT_LOG_INFO, "redis_master_moved", lt_fs("master", s->name), lt_fs("from", lt_redis_address(s->master)),
               lt_fs("to", address));
    // the one or the other: who waits for the address connects there, a connection that is elsewhere ends
    char copy[LT_ADDRESS_TEXT] = {0};
    memcpy(copy, address, strlen(address) + 1);
    memcpy(s->moved_to, copy, sizeof copy);
    if (!lt_redis_located(s->master, lt_span_cstr(copy)) && elsewhere)
        lt_redis_move(s->master);
}

static void on_answer(struct lt_redis_call *call, enum lt_err e, const redisReply *reply) {
    struct sentinel *one = LT_ENTRY(call, struct sentinel, query);
    (void)e;
    one->all->open--;
    one->answer[0] = '\0';
    if (reply)
        one->all->nameless = false;
    if (reply && reply->type == REDIS_REPLY_ARRAY && reply->elements == 2) {
        const redisReply *host = reply->element[0], *port = reply->element[1];
        if (host->type != REDIS_REPLY_STRING || port->type != REDIS_REPLY_STRING ||
            !lt_redis_join(lt_span(host->str, host->len), lt_span(port->str, port->len), lt_span("", 0), one->answer))
            one->answer[0] = '\0';
    }
    decide(one->all);
}

static void query_all(struct lt_redis_sentinel *s) {
    struct lt_span args[] = {LT_S("SENTINEL"), LT_S("get-master-addr-by-name"), lt_span_cstr(s->name)};
    s->decided = false;
    for (unsigned i = 0; i < s->n; i++) {
        struct sentinel *one = &s->sentinels[i];
        one->answer[0] = '\0';
        lt_redis_cancel(&one->query);
        one->query = (struct lt_redis_call){.done = on_answer};
        lt_redis_send(one->ask, &one->query, args, 3);
    }
    s->open = s->n;
    lt_timer_set(s->loop, &s->poll, POLL_MS / 2 + rand_r(&s->seed) % POLL_MS);
}

static void on_poll(struct lt_timer *t) {
    query_all(LT_ENTRY(t, struct lt_redis_sentinel, poll));
}

static void locate(struct lt_redis_owner *o, struct lt_redis *r) {
    (void)r;
    query_all(LT_ENTRY(o, struct lt_redis_sentinel, owner));
}

static void happened(struct lt_redis_owner *o, struct lt_redis *r, enum lt_redis_event e) {
    struct lt_redis_sentinel *s = LT_ENTRY(o, struct lt_redis_sentinel, owner);
    if (s->forwards && s->forwards->happened)
        s->forwards->happened(s->forwards, r, e);
}

// --- what the sentinels say by themselves ---

static const char *const channels[] = {"+switch-master", "+failover-state-send-slaveof-noone",
                                       "-failover-abort-slave-timeout"};
enum { SWITCHED, PROMOTES, ABORTED, CHANNELS };

// "mymaster 127.0.0.1 6379 127.0.0.1 6380", or "slave 127.0.0.1:6380 127.0.0.1 6380 @ mymaster 127.0.0.1 6379".
static bool is_ours(const struct lt_redis_sentinel *s, const char *text) {
    const char *at = strstr(text, " @ ");
    struct lt_span name = lt_span_cstr(at ? at + 3 : text);
    name.n = lt_span_find(name, ' ');
    return lt_span_eq(name, lt_span_cstr(s->name));
}

// ["message", channel, text]. Whoever said that the master is another one: all of them are asked.
static void pushed(struct lt_redis_owner *o, struct lt_redis *r, const redisReply *message) {
    struct lt_redis_sentinel *s = LT_ENTRY(o, struct sentinel, listens)->all;
    unsigned channel = 0;
    (void)r;
    if (message->type != REDIS_REPLY_ARRAY || message->elements != 3 || message->element[1]->type != REDIS_REPLY_STRING ||
        message->element[2]->type != REDIS_REPLY_STRING || !is_ours(s, message->element[2]->str))
        return;
    while (channel < CHANNELS && strcmp(message->element[1]->str, channels[channel]) != 0)
        channel++;
    if (channel == PROMOTES) {
        s->paused = lt_clock_mono() + PAUSE_MS;
        lt_redis_move(s->master);
    } else {
        s->paused = 0;
        query_all(s);
    }
}

// The answer is a confirmation, or a message that came before it.
static void on_subscribed(struct lt_redis_call *call, enum lt_err e, const redisReply *reply) {
    struct sentinel *one = LT_ENTRY(call, struct sentinel, subscribe);
    (void)e;
    if (reply)
        pushed(&one->listens, one->listen, reply);
}

static void subscribe(struct sentinel *one) {
    struct lt_span args[1 + CHANNELS] = {LT_S("SUBSCRIBE")};
    for (unsigned i = 0; i < CHANNELS; i++)
        args[1 + i] = lt_span_cstr(channels[i]);
    lt_redis_cancel(&one->subscribe);
    one->subscribe = (struct lt_redis_call){.done = on_subscribed};
    lt_redis_send(one->listen, &one->subscribe, args,
                  1 + CHANNELS); // a confirmation a channel: the second and third are pushed
}

static void listen_happened(struct lt_redis_owner *o, struct lt_redis *r, enum lt_redis_event e) {
    struct sentinel *one = LT_ENTRY(o, struct sentinel, listens);
    (void)r;
    if (e == LT_REDIS_READY)
        subscribe(one);
}

// --- life ---

static bool open_sentinel(struct lt_redis_sentinel *s, const struct lt_redis_options *o, struct lt_span address) {
    struct sentinel *one = &s->sentinels[s->n++];
    struct lt_redis_options mine = *o;
    mine.address = address;
    mine.database = 0;
    mine.must_be_master = false;
    mine.password_is_optional = true;
    mine.owner = NULL;
    mine.timeout =
        o->timeout / 3 > TIMEOUT_MIN_MS ? o->timeout / 3 : TIMEOUT_MIN_MS; // within the time that a connection has
    one->all = s;
    one->listens = (struct lt_redis_owner){.happened = listen_happened, .pushed = pushed};
    one->ask = lt_redis_new(s->loop, &mine);
    mine.owner = &one->listens;
    one->listen = lt_redis_new(s->loop, &mine);
    if (!one->ask || !one->listen)
        return false;
    subscribe(one);
    return true;
}

struct lt_redis_sentinel *lt_redis_sentinel_new(struct lt_loop *loop, const struct lt_redis_options *o,
                                                const struct lt_redis_place *place) {
    struct lt_redis_sentinel *s = calloc(1, sizeof *s);
    if (!s)
        return NULL;
    s->loop = loop;
    s->seed = (unsigned)lt_clock_wall() ^ (unsigned)(uintptr_t)s;
    s->owner = (struct lt_redis_owner){.happened = happened, .locate = locate};
    s->forwards = o->owner;
    lt_timer_init(&s->poll, on_poll);
    struct lt_redis_options mine = *o;
    mine.must_be_master = true;
    mine.owner = &s->owner;
    mine.address = lt_span("", 0);
    s->master = lt_redis_new(loop, &mine);
    bool ok = s->master && place->master.n < sizeof s->name;
    if (ok)
        memcpy(s->name, place->master.p, place->master.n);
    for (unsigned i = 0; ok && i < place->n_seeds; i++)
        ok = open_sentinel(s, o, place->seeds[i]);
    if (ok)
        return s;
    lt_redis_sentinel_free(s);
    return NULL;
}

void lt_redis_sentinel_free(struct lt_redis_sentinel *s) {
    if (!s)
        return;
    lt_redis_free(s->master);
    for (unsigned i = 0; i < s->n; i++) {
        struct sentinel *one = &s->sentinels[i];
        lt_redis_cancel(&one->query);
        lt_redis_cancel(&one->subscribe);
        lt_redis_free(one->ask);
        lt_redis_free(one->listen);
    }
    lt_timer_clear(s->loop, &s->poll);
    free(s);
}

struct lt_redis *lt_redis_sentinel_master(struct lt_redis_sentinel *s) {
    return s->master;
}
