// SPDX-License-Identifier: Apache-2.0
#include "store/redis_scan.h"

#include "base/clock.h"
#include "store/driver.h"

#include <hiredis/hiredis.h>
#include <stdio.h>
#include <stdlib.h>

enum { CURSOR_MAX = 24, KEY_MAX = 160, MAP_MS = 20 };

struct redis_scan {
    struct lt_store *store;
    struct lt_store_scan *scan;
    struct lt_redis *(*nth)(struct lt_store *s, unsigned i);
    unsigned node;
    char cursor[CURSOR_MAX];
    char (*keys)[KEY_MAX]; // of this page
    size_t n, at;
    struct lt_redis_call call;
    struct lt_timer wait; // for a cluster's first map
    int64_t began;
};

static void next_page(struct redis_scan *r);

static void end(struct redis_scan *r, enum lt_store_result result) {
    struct lt_store_scan *scan = r->scan;
    free(r->keys);
    free(r);
    scan->done(scan, result);
}

// KEYS: the record and its lock.
static const char look_script[] = "local v = redis.call('HMGET', KEYS[1], 'e', 'a')\n"
                                  "if not v[1] then return {} end\n"
                                  "return {v[1], v[2] or '', redis.call('HSTRLEN', KEYS[1], 'd'), "
                                  "redis.call('PTTL', KEYS[1]), redis.call('EXISTS', KEYS[2])}\n";

static void next_key(struct redis_scan *r);

// The hash stands between the braces.
static bool hash_of(const char *key, char hash[LT_TOKEN_HASH_TEXT + 1]) {
    const char *open = strrchr(key, '{'), *close = open ? strchr(open, '}') : NULL;
    if (!close || close - open - 1 != LT_TOKEN_HASH_TEXT)
        return false;
    memcpy(hash, open + 1, LT_TOKEN_HASH_TEXT);
    hash[LT_TOKEN_HASH_TEXT] = '\0';
    return true;
}

static void tell(struct redis_scan *r, const redisReply *reply) {
    struct lt_store_row row = {.ttl = 0};
    redisReply *const *v = reply->element;
    if (reply->type != REDIS_REPLY_ARRAY || reply->elements != 5 || !hash_of(r->keys[r->at], row.hash))
        return; // it has gone meanwhile, or its slot has
    row.expires = strtoll(v[0]->str ? v[0]->str : "0", NULL, 10);
    if (v[1]->type == REDIS_REPLY_STRING && v[1]->len == LT_TOKEN_HASH_TEXT)
        memcpy(row.tag, v[1]->str, LT_TOKEN_HASH_TEXT);
    row.size = (size_t)v[2]->integer;
    row.ttl = v[3]->integer;
    row.locked = v[4]->integer != 0;
    r->scan->found(r->scan, &row);
}

static void on_looked(struct lt_redis_call *call, enum lt_err e, const redisReply *reply) {
    struct redis_scan *r = LT_ENTRY(call, struct redis_scan, call);
    (void)e;
    if (!reply) {
        end(r, LT_STORE_DOWN);
        return;
    }
    tell(r, reply);
    r->at++;
    next_key(r);
}

static void next_key(struct redis_scan *r) {
    char lock[KEY_MAX + 8];
    if (r->at == r->n) {
        if (strcmp(r->cursor, "0") == 0)
            r->node++;
        next_page(r);
        return;
    }
    snprintf(lock, sizeof lock, "%s:lock", r->keys[r->at]);
    struct lt_span args[] = {LT_S("EVAL"), LT_S(look_script), LT_S("2"), lt_span_cstr(r->keys[r->at]),
                             lt_span_cstr(lock)};
    struct lt_redis *node = r->nth(r->store, r->node);
    if (!node) { // the cluster has become smaller meanwhile
        end(r, LT_STORE_DOWN);
        return;
    }
    r->call = (struct lt_redis_call){.done = on_looked};
    lt_redis_send(node, &r->call, args, 5);
}

// Records end with their brace, locks do not.
static bool keep_keys(struct redis_scan *r, const redisReply *keys) {
    free(r->keys);
    r->keys = calloc(keys->elements + 1, sizeof *r->keys);
    r->n = r->at = 0;
    for (size_t i = 0; r->keys && i < keys->elements; i++) {
        const redisReply *key = keys->element[i];
        if (key->type == REDIS_REPLY_STRING && key->len < KEY_MAX && key->len && key->str[key->len - 1] == '}')
            memcpy(r->keys[r->n++], key->str, key->len + 1);
    }
    return r->keys != NULL;
}

static void on_page(struct lt_redis_call *call, enum lt_err e, const redisReply *reply) {
    struct redis_scan *r = LT_ENTRY(call, struct redis_scan, call);
    (void)e;
    bool ok = reply && reply->type == REDIS_REPLY_ARRAY && reply->elements == 2 && reply->element[0]->str &&
              reply->element[0]->len < CURSOR_MAX;
    if (ok)
        memcpy(r->cursor, reply->element[0]->str, reply->element[0]->len + 1);
    if (!ok || !keep_keys(r, reply->element[1]))
        end(r, LT_STORE_DOWN);
    else
        next_key(r);
}

// The prefix as a pattern: what is special in one is quoted.
static int pattern_of(const char *prefix, char *out, size_t size) {
    size_t n = 0;
    for (; *prefix && n + 6 < size; prefix++) {
        if (strchr("*?[]\\^", *prefix))
            out[n++] = '\\';
        out[n++] = *prefix;
    }
    return (int)n + snprintf(out + n, size - n, ":{*}");
}

static void next_page(struct redis_scan *r) {
    char pattern[2 * LT_STORE_PREFIX_MAX + 8];
    struct lt_redis *node = r->nth(r->store, r->node);
    if (!node && r->node == 0 && lt_clock_mono() - r->began < r->store->timeout) {
        lt_timer_set(r->store->loop, &r->wait, MAP_MS);
        return;
    }
    if (!node) {
        end(r, r->node ? LT_STORE_OK : LT_STORE_DOWN);
        return;
    }
    int n = pattern_of(r->store->prefix, pattern, sizeof pattern);
    struct lt_span args[] = {
        LT_S("SCAN"), lt_span_cstr(r->cursor), LT_S("MATCH"), lt_span(pattern, (size_t)n), LT_S("COUNT"), LT_S("512")};
    r->call = (struct lt_redis_call){.done = on_page};
    lt_redis_send(node, &r->call, args, 6);
}

static void on_wait(struct lt_timer *t) {
    next_page(LT_ENTRY(t, struct redis_scan, wait));
}

void redis_scan_begin(struct lt_store *s, struct lt_store_scan *scan,
                      struct lt_redis *(*nth)(struct lt_store *s, unsigned i)) {
    struct redis_scan *r = calloc(1, sizeof *r);
    if (!r) {
        scan->done(scan, LT_STORE_DOWN);
        return;
    }
    r->store = s;
    r->scan = scan;
    r->nth = nth;
    r->cursor[0] = '0';
    r->began = lt_clock_mono();
    lt_timer_init(&r->wait, on_wait);
    next_page(r);
}
