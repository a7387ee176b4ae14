// SPDX-License-Identifier: Apache-2.0
#include "net/redis_cluster.h"

#include "base/clock.h"
#include "base/log.h"

#include <hiredis/hiredis.h>
#include <stdio.h>
#include <stdlib.h>

enum { NODES_MAX = 1000, AGAIN_MS = 100, AWAY_MS = 400, POLL_MS = 15000, NOBODY = 0xffff };

struct node {
    struct lt_redis *client;
    bool is_mapped; // has slots
    bool is_gone;   // in no map any more: ends at the end of the turn
};

struct lt_redis_cluster {
    struct lt_loop *loop;
    struct lt_redis_options options;
    struct lt_redis_owner owner, *forwards;
    struct node *nodes;
    unsigned n, cap, turn;
    const struct lt_span *seeds; // the caller's
    unsigned n_seeds;
    uint16_t slots[LT_REDIS_SLOTS];
    bool is_known;              // there was a map
    struct lt_redis_call query; // CLUSTER SLOTS
    int64_t asked;              // when it was last sent
    struct lt_timer poll;
    struct lt_task sweep;
    unsigned seed;
};

static void on_map(struct lt_redis_call *call, enum lt_err e, const redisReply *reply);

static unsigned find(const struct lt_redis_cluster *c, struct lt_span address) {
    for (unsigned i = 0; i < c->n; i++)
        if (c->nodes[i].client && lt_span_eq(address, lt_span_cstr(lt_redis_address(c->nodes[i].client))))
            return i;
    return NOBODY;
}

// NOBODY: no memory, or too many.
static unsigned find_or_add(struct lt_redis_cluster *c, struct lt_span address) {
    unsigned i = find(c, address);
    if (i != NOBODY) {
        c->nodes[i].is_gone = false;
        return i;
    }
    for (i = 0; i < c->n && c->nodes[i].client; i++) {
    }
    if (i == c->cap) {
        unsigned cap = c->cap ? c->cap * 2 : 8;
        struct node *nodes = cap <= NODES_MAX ? realloc(c->nodes, cap * sizeof *nodes) : NULL;
        if (!nodes)
            return NOBODY;
        c->nodes = nodes;
        c->cap = cap;
    }
    struct lt_redis_options o = c->options;
    o.address = address;
    c->nodes[i] = (struct node){.client = lt_redis_new(c->loop, &o)};
    if (!c->nodes[i].client)
        return NOBODY;
    if (i == c->n)
        c->n++;
    return i;
}

static bool plant_seeds(struct lt_redis_cluster *c) {
    bool ok = true;
    for (unsigned i = 0; i < c->n_seeds; i++)
        ok = find_or_add(c, c->seeds[i]) != NOBODY && ok;
    return ok;
}

// A node to ask: each in turn, those without an address (yet) last; when all are away, the URL's seeds come back into play.
static struct lt_redis *somebody(struct lt_redis_cluster *c) {
    struct lt_redis *any = NULL, *unresolved = NULL;
    for (unsigned i = 0; i < c->n; i++) {
        struct lt_redis *r = c->nodes[c->turn++ % c->n].client;
        bool may_serve = r && !lt_redis_is_open(r);
        if (may_serve && lt_redis_has_address(r))
            return r;
        unresolved = may_serve ? r : unresolved;
        any = r ? r : any;
    }
    if (unresolved)
        return unresolved;
    plant_seeds(c);
    return any;
}

static void ask_for_map(struct lt_redis_cluster *c) {
    struct lt_span args[] = {LT_S("CLUSTER"), LT_S("SLOTS")};
    struct lt_redis *r = somebody(c);
    lt_timer_set(c->loop, &c->poll, POLL_MS / 2 + rand_r(&c->seed) % POLL_MS);
    if (!r || c->query.busy)
        return;
    c->asked = lt_clock_mono();
    c->query = (struct lt_redis_call){.done = on_map};
    lt_redis_send(r, &c->query, args, 2);
}

// Soon, but not more often than every AGAIN_MS: many commands find out the same thing at once.
static void renew(struct lt_redis_cluster *c) {
    int64_t wait = c->asked + AGAIN_MS - lt_clock_mono();
    if (c->query.busy)
        return;
    if (wait <= 0)
        ask_for_map(c);
    else if (c->poll.deadline == 0 || c->poll.deadline > lt_clock_mono() + wait)
        lt_timer_set(c->loop, &c->poll, wait);
}

static void on_poll(struct lt_timer *t) {
    ask_for_map(LT_ENTRY(t, struct lt_redis_cluster, poll));
}

// --- reading the map ---

// [first, last, [host, port, …], replicas…]
static bool read_range(struct lt_redis_cluster *c, const redisReply *range, struct lt_span from) {
    char port[24], address[LT_ADDRESS_TEXT];
    if (range->type != REDIS_REPLY_ARRAY || range->elements < 3 || range->element[0]->type != REDIS_REPLY_INTEGER ||
        range->element[1]->type != REDIS_REPLY_INTEGER || range->element[2]->type != REDIS_REPLY_ARRAY ||
        range->element[2]->elements < 2)
        return false;
    const redisReply *host = range->element[2]->element[0], *number = range->element[2]->element[1];
    long long first = range->element[0]->integer, last = range->element[1]->integer;
    if (number->type != REDIS_REPLY_INTEGER || first < 0 || last >= LT_REDIS_SLOTS)
        return false;
    int n = snprintf(port, sizeof port, "%lld", number->integer);
    struct lt_span name = host->type == REDIS_REPLY_STRING ? lt_span(host->str, host->len) : lt_span("", 0);
    if (!lt_redis_join(name, lt_span(port, (size_t)n), from, address))
        return false;
    unsigned i = find_or_add(c, lt_span_cstr(address));
    if (i == NOBODY)
        return false;
    c->nodes[i].is_mapped = true;
    for (long long slot = first; slot <= last; slot++)
        c->slots[slot] = (uint16_t)i;
    return true;
}

static void read_map(struct lt_redis_cluster *c, const redisReply *reply, struct lt_span from) {
    for (unsigned i = 0; i < c->n; i++)
        c->nodes[i].is_mapped = false;
    memset(c->slots, 0xff, sizeof c->slots);
    for (size_t i = 0; i < reply->elements; i++)
        if (!read_range(c, reply->element[i], from))
            LT_LOG(LT_LOG_WARN, "cluster_map_unreadable", lt_f("node", from));
    for (unsigned i = 0; i < c->n; i++)
        c->nodes[i].is_gone = c->nodes[i].client && !c->nodes[i].is_mapped;
    c->is_known = true;
    lt_loop_defer(c->loop, &c->sweep);
}

static void on_map(struct lt_redis_call *call, enum lt_err e, const redisReply *reply) {
    struct lt_redis_cluster *c = LT_ENTRY(call, struct lt_redis_cluster, query);
    char from[LT_ADDRESS_TEXT];
    if (e == LT_ERR_CANCELED)
        return;
    snprintf(from, sizeof from, "%s", lt_redis_address(call->client));
    if (reply && reply->type == REDIS_REPLY_ARRAY && reply->elements) {
        read_map(c, reply, lt_span_cstr(from));
        if (lt_redis_cluster_is_open(c)) // a fail-over is to be expected, and nobody will tell
            lt_timer_set(c->loop, &c->poll, AWAY_MS / 2 + rand_r(&c->seed) % AWAY_MS);
        return;
    }
    if (reply)
        LT_LOG(LT_LOG_WARN, "cluster_map_refused", lt_fs("node", from),
               lt_fs("error", reply->type == REDIS_REPLY_ERROR ? reply->str : "no slots"),
               lt_fs("do", "write redis:// if it is no cluster; else give its slots to nodes, and lethe's user the "
                           "right +cluster|slots"));
    int64_t wait = reply ? 10 * AGAIN_MS : AGAIN_MS;
    lt_timer_set(c->loop, &c->poll, wait / 2 + rand_r(&c->seed) % wait);
}

static void tell(struct lt_redis_cluster *c, struct lt_redis *r, enum lt_redis_event e) {
    if (c->forwards && c->forwards->happened)
        c->forwards->happened(c->forwards, r, e);
}

static void on_sweep(struct lt_task *t) {
    struct lt_redis_cluster *c = LT_ENTRY(t, struct lt_redis_cluster, sweep);
    for (unsigned i = 0; i < c->n; i++) {
        struct lt_redis *r = c->nodes[i].client;
        if (!r || !c->nodes[i].is_gone)
            continue;
        c->nodes[i] = (struct node){0};
        if (lt_redis_is_open(r)) {
            LT_LOG(LT_LOG_INFO, "redis_gone", lt_fs("address", lt_redis_address(r)));
            tell(c, r, LT_REDIS_CLOSED);
        }
        lt_redis_free(r);
    }
}

// --- for the caller ---

struct lt_redis *lt_redis_cluster_node(struct lt_redis_cluster *c, unsigned slot) {
    unsigned i = c->slots[slot % LT_REDIS_SLOTS];
    if (i < c->n && c->nodes[i].client)
        return c->nodes[i].client;
    renew(c);
    return somebody(c);
}

static enum lt_redis_advice follow(struct lt_redis_cluster *c, enum lt_redis_redirect redirect, unsigned slot,
                                   const char *address, struct lt_redis **node) {
    unsigned i = find_or_add(c, lt_span_cstr(address));
    if (i == NOBODY)
        return LT_REDIS_FINAL;
    if (redirect == LT_REDIS_ASK) {
        *node = c->nodes[i].client;
        return LT_REDIS_AGAIN;
    }
    c->slots[slot] = (uint16_t)i;
    renew(c);
    return LT_REDIS_AGAIN;
}

enum lt_redis_advice lt_redis_cluster_judge(struct lt_redis_cluster *c, struct lt_span error, struct lt_redis *from,
                                            struct lt_redis **node) {
    char address[LT_ADDRESS_TEXT];
    unsigned slot;
    *node = NULL;
    enum lt_redis_redirect redirect = lt_redis_redirect(error, lt_span_cstr(lt_redis_address(from)), &slot, address);
    if (redirect != LT_REDIS_STAY)
        return follow(c, redirect, slot, address, node);
    if (lt_span_starts(error, LT_S("TRYAGAIN")))
        return LT_REDIS_LATER;
    if (!lt_span_starts(error, LT_S("CLUSTERDOWN")))
        return LT_REDIS_FINAL;
    renew(c);
    return LT_REDIS_AWAY;
}

bool lt_redis_cluster_is_open(const struct lt_redis_cluster *c) {
    for (unsigned i = 0; i < c->n; i++)
        if (c->nodes[i].client && (c->nodes[i].is_mapped || !c->is_known) && lt_redis_is_open(c->nodes[i].client))
            return true;
    return false;
}

struct lt_redis *lt_redis_cluster_nth(const struct lt_redis_cluster *c, unsigned i) {
    for (unsigned k = 0; k < c->n; k++)
        if (c->nodes[k].client && c->nodes[k].is_mapped && i-- == 0)
            return c->nodes[k].client;
    return NULL;
}

// --- life ---

static void happened(struct lt_redis_owner *o, struct lt_redis *r, enum lt_redis_event e) {
    struct lt_redis_cluster *c = LT_ENTRY(o, struct lt_redis_cluster, owner);
    if (e == LT_REDIS_OPENED)
        renew(c);
    tell(c, r, e);
}

struct lt_redis_cluster *lt_redis_cluster_new(struct lt_loop *loop, const struct lt_redis_options *o,
                                              const struct lt_span *seeds, unsigned n) {
    struct lt_redis_cluster *c = calloc(1, sizeof *c);
    if (!c)
        return NULL;
    c->loop = loop;
    c->options = *o;
    c->forwards = o->owner;
    c->owner = (struct lt_redis_owner){.happened = happened};
    c->options.owner = &c->owner;
    c->seed = (unsigned)lt_clock_wall() ^ (unsigned)(uintptr_t)c;
    c->asked = -AGAIN_MS;
    memset(c->slots, 0xff, sizeof c->slots);
    lt_timer_init(&c->poll, on_poll);
    lt_task_init(&c->sweep, on_sweep);
    c->seeds = seeds;
    c->n_seeds = n;
    c->turn = c->seed % n;
    if (plant_seeds(c))
        return c;
    lt_redis_cluster_free(c);
    return NULL;
}

void lt_redis_cluster_free(struct lt_redis_cluster *c) {
    if (!c)
        return;
    lt_redis_cancel(&c->query);
    lt_timer_clear(c->loop, &c->poll);
    lt_task_cancel(&c->sweep);
    for (unsigned i = 0; i < c->n; i++)
        lt_redis_free(c->nodes[i].client);
    free(c->nodes);
    free(c);
}
