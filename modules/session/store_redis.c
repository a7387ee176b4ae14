// SPDX-License-Identifier: Apache-2.0
// Sessions in Redis. A record is a hash  <prefix>:{<token's hash>}  with the fields
//   d  the sealed record; empty is a tombstone      e  its absolute end, wall ms
//   f  the last fence that was given out, or without locks the version
// and a lock  <prefix>:{<token's hash>}:lock  whose value is its owner. The braces keep both in one slot of a cluster.
// Every operation is one script and one round trip, and may be repeated without harm when an answer was lost.
#include "modules/session/store.h"

#include "base/clock.h"

#include <hiredis/hiredis.h>
#include <openssl/sha.h>
#include <stdio.h>
#include <stdlib.h>

// ARGV: owner lease ttl now
static const char load_script[] =
    "local v = redis.call('HMGET', KEYS[1], 'd', 'e', 'f')\n"
    "if not v[1] then return {'miss'} end\n"
    "if v[1] == '' then return {'ended'} end\n"
    "local ttl = math.min(tonumber(ARGV[3]), tonumber(v[2]) - tonumber(ARGV[4]))\n"
    "if ttl <= 0 then redis.call('DEL', KEYS[1], KEYS[2]) return {'miss'} end\n"
    "local fence = tonumber(v[3])\n"
    "if ARGV[2] ~= '0' then\n"
    "  if not redis.call('SET', KEYS[2], ARGV[1], 'PX', ARGV[2], 'NX') and redis.call('GET', KEYS[2]) ~= ARGV[1] then\n"
    "    return {'busy'}\n"
    "  end\n"
    "  fence = redis.call('HINCRBY', KEYS[1], 'f', 1)\n"
    "end\n"
    "if redis.call('PTTL', KEYS[1]) < ttl * 0.95 then redis.call('PEXPIRE', KEYS[1], ttl) end\n"
    "return {'ok', v[1], fence}\n";

// ARGV: owner lease ttl now data expires
static const char create_script[] =
    "redis.call('HSET', KEYS[1], 'd', ARGV[5], 'e', ARGV[6], 'f', 1)\n"
    "redis.call('PEXPIRE', KEYS[1], math.max(1, math.min(tonumber(ARGV[3]), tonumber(ARGV[6]) - tonumber(ARGV[4]))))\n"
    "if ARGV[2] ~= '0' then redis.call('SET', KEYS[2], ARGV[1], 'PX', ARGV[2]) end\n"
    "return {'ok', '', 1}\n";

// ARGV: owner lease ttl now data expires fence release. With a lease the fence must be the newest; without, it is the version that
// was loaded: who wrote in between wins, and the caller loads again.
static const char save_script[] =
    "local v = redis.call('HMGET', KEYS[1], 'd', 'f')\n"
    "if v[1] == '' then return {'ended'} end\n"
    "local newest, fence = tonumber(v[2] or ARGV[7]), tonumber(ARGV[7])\n"
    "if newest > fence or (ARGV[2] == '0' and newest ~= fence) then return {'fenced'} end\n"
    "if ARGV[2] == '0' then newest = newest + 1 end\n"
    "local ttl = math.min(tonumber(ARGV[3]), tonumber(ARGV[6]) - tonumber(ARGV[4]))\n"
    "if ttl <= 0 then redis.call('DEL', KEYS[1]) else\n"
    "  redis.call('HSET', KEYS[1], 'd', ARGV[5], 'e', ARGV[6], 'f', newest)\n"
    "  redis.call('PEXPIRE', KEYS[1], ttl)\n"
    "end\n"
    "if ARGV[8] == '1' and redis.call('GET', KEYS[2]) == ARGV[1] then redis.call('DEL', KEYS[2]) end\n"
    "return {'ok'}\n";

// ARGV: owner lease ttl. Whoever holds the lock meanwhile: a logout is final, and his write will find the tombstone.
static const char end_script[] = "redis.call('HSET', KEYS[1], 'd', '', 'e', '0')\n"
                                 "redis.call('PEXPIRE', KEYS[1], ARGV[3])\n"
                                 "if redis.call('GET', KEYS[2]) == ARGV[1] then redis.call('DEL', KEYS[2]) end\n"
                                 "return {'ok'}\n";

// ARGV: owner lease ttl now data expires
static const char expire_script[] =
    "local v = redis.call('HMGET', KEYS[1], 'd', 'e')\n"
    "if v[1] == '' then return {'ended'} end\n"
    "if not v[2] or tonumber(v[2]) <= tonumber(ARGV[6]) then return {'ok'} end\n"
    "redis.call('HSET', KEYS[1], 'e', ARGV[6])\n"
    "redis.call('PEXPIRE', KEYS[1], math.max(1, math.min(tonumber(ARGV[3]), tonumber(ARGV[6]) - tonumber(ARGV[4]))))\n"
    "return {'ok'}\n";

// ARGV: owner lease
static const char renew_script[] = "if redis.call('GET', KEYS[2]) ~= ARGV[1] then return {'miss'} end\n"
                                   "redis.call('PEXPIRE', KEYS[2], ARGV[2])\n"
                                   "return {'ok'}\n";

// ARGV: owner
static const char release_script[] = "if redis.call('GET', KEYS[2]) == ARGV[1] then redis.call('DEL', KEYS[2]) end\n"
                                     "return {'ok'}\n";

static const struct script {
    const char *text;
    size_t n;
} scripts[STORE_KINDS] = {
    [STORE_LOAD] = {load_script, sizeof load_script - 1},
    [STORE_CREATE] = {create_script, sizeof create_script - 1},
    [STORE_SAVE] = {save_script, sizeof save_script - 1},
    [STORE_END] = {end_script, sizeof end_script - 1},
    [STORE_EXPIRE] = {expire_script, sizeof expire_script - 1},
    [STORE_RENEW] = {renew_script, sizeof renew_script - 1},
    [STORE_RELEASE] = {release_script, sizeof release_script - 1},
};

enum { AGAIN_MS = 30 };

struct store {
    struct lt_redis *redis;
    struct lt_loop *loop;
    int64_t timeout; // ms an operation
    struct lt_metrics *metrics;
    unsigned seconds_row, breaker_row;
    char prefix[64];
    char digests[STORE_KINDS][41];
};

struct store_op *store_op_new(enum store_kind kind) {
    struct store_op *op = calloc(1, sizeof *op);
    if (!op)
        return NULL;
    op->kind = kind;
    lt_buf_init(&op->data, STORE_DATA_MAX);
    return op;
}

void store_op_free(struct store_op *op) {
    if (!op)
        return;
    lt_buf_fini(&op->data);
    free(op);
}

static struct lt_span number(char *out, size_t size, int64_t value) {
    int n = snprintf(out, size, "%lld", (long long)value);
    return lt_span(out, (size_t)n);
}

static void send_op(struct store_op *op) {
    struct store *s = op->store;
    char key[160], lock[160], texts[5][24];
    int n = snprintf(key, sizeof key, "%s:{%s}", s->prefix, op->hash);
    int m = snprintf(lock, sizeof lock, "%s:{%s}:lock", s->prefix, op->hash);
    const struct script *script = &scripts[op->kind];
    struct lt_span args[] = {
        op->whole_script ? LT_S("EVAL") : LT_S("EVALSHA"),
        op->whole_script ? lt_span(script->text, script->n) : lt_span(s->digests[op->kind], 40),
        LT_S("2"),
        lt_span(key, (size_t)n),
        lt_span(lock, (size_t)m),
        lt_span_cstr(op->owner),
        number(texts[0], sizeof texts[0], op->lease),
        number(texts[1], sizeof texts[1], op->ttl),
        number(texts[2], sizeof texts[2], lt_clock_wall()),
        op->kind == STORE_LOAD ? lt_span("", 0) : lt_buf_span(&op->data),
        number(texts[3], sizeof texts[3], op->expires),
        number(texts[4], sizeof texts[4], (int64_t)op->fence),
        op->release ? LT_S("1") : LT_S("0"),
    };
    lt_redis_send(s->redis, &op->call, args, sizeof args / sizeof *args);
}

static enum store_result verdict(const redisReply *word) {
    static const char *const words[] = {"ok", "miss", "ended", "busy", "fenced"};
    for (unsigned i = 0; word->type == REDIS_REPLY_STRING && i < sizeof words / sizeof *words; i++)
        if (strcmp(word->str, words[i]) == 0)
            return (enum store_result)i;
    return STORE_DOWN;
}

static void read_reply(struct store_op *op, const redisReply *reply) {
    op->result = STORE_DOWN;
    if (reply->type == REDIS_REPLY_ERROR) {
        LT_LOG(LT_LOG_WARN, "store_error", lt_fs("error", reply->str));
        return;
    }
    if (reply->type != REDIS_REPLY_ARRAY || reply->elements == 0)
        return;
    op->result = verdict(reply->element[0]);
    if (op->result != STORE_OK || reply->elements < 3)
        return;
    const redisReply *data = reply->element[1], *fence = reply->element[2];
    op->fence = fence->type == REDIS_REPLY_INTEGER ? (uint64_t)fence->integer : 0;
    if (op->kind == STORE_LOAD) {
        lt_buf_consume(&op->data, op->data.len);
        if (data->type != REDIS_REPLY_STRING || !lt_buf_append(&op->data, lt_span(data->str, data->len)))
            op->result = STORE_DOWN;
    }
}

// A write that was not sent, or whose answer was lost, is tried again for as long as somebody can wait for it: a look-up may fail at
// once, but a lock that is not given back stops its session. Repeating does no harm.
static bool is_worth_another_try(const struct store_op *op, enum lt_err e) {
    bool unheard = e == LT_ERR_REFUSED || e == LT_ERR_CLOSED || e == LT_ERR_RESET || e == LT_ERR_IO;
    bool writes = op->kind != STORE_LOAD && op->kind != STORE_RENEW;
    int64_t patience = op->kind == STORE_RELEASE ? op->lease : op->store->timeout;
    return writes && unheard && lt_clock_mono() - op->began + AGAIN_MS < patience;
}

static void on_again(struct lt_timer *t) {
    send_op(LT_ENTRY(t, struct store_op, again));
}

static void on_reply(struct lt_redis_call *call, enum lt_err e, const redisReply *reply) {
    struct store_op *op = LT_ENTRY(call, struct store_op, call);
    struct store *s = op->store;
    bool lost = e == LT_ERR_CLOSED || e == LT_ERR_RESET;
    bool unknown = reply && reply->type == REDIS_REPLY_ERROR && strncmp(reply->str, "NOSCRIPT", 8) == 0;
    if ((lost || unknown) && op->tries++ < 2) {
        op->whole_script = op->whole_script || unknown;
        send_op(op);
        return;
    }
    if (!reply && is_worth_another_try(op, e)) {
        lt_timer_set(s->loop, &op->again, AGAIN_MS);
        return;
    }
    if (reply)
        read_reply(op, reply);
    else
        op->result = STORE_DOWN;
    lt_metric_observe(s->metrics, s->seconds_row, (uint64_t)(lt_clock_mono() - op->began) * 1000);
    lt_metric_set(s->metrics, s->breaker_row, lt_redis_is_open(s->redis));
    op->done(op);
}

void store_submit(struct store *s, struct store_op *op) {
    op->store = s;
    op->began = lt_clock_mono();
    lt_timer_init(&op->again, on_again);
    op->call.done = on_reply;
    send_op(op);
}

struct store *store_redis_new(const struct lt_services *services, struct lt_span url, int64_t timeout,
                              struct lt_span prefix, unsigned seconds_row, unsigned breaker_row) {
    struct store *s = calloc(1, sizeof *s);
    struct lt_arena arena;
    struct lt_redis_options options;
    const char *error;
    if (!s)
        return NULL;
    lt_arena_init(&arena, 16384);
    s->metrics = services->metrics;
    s->loop = services->loop;
    s->timeout = timeout;
    s->seconds_row = seconds_row;
    s->breaker_row = breaker_row;
    snprintf(s->prefix, sizeof s->prefix, "%.*s", (int)prefix.n, prefix.p);
    for (unsigned k = 0; k < STORE_KINDS; k++) {
        unsigned char digest[SHA_DIGEST_LENGTH];
        SHA1((const unsigned char *)scripts[k].text, scripts[k].n, digest);
        for (unsigned i = 0; i < SHA_DIGEST_LENGTH; i++)
            snprintf(s->digests[k] + 2 * i, 3, "%02x", digest[i]);
    }
    if (lt_redis_url(url, &arena, &options, &error)) {
        options.timeout = timeout;
        s->redis = lt_redis_new(services->loop, &options);
    }
    lt_arena_fini(&arena);
    if (s->redis)
        return s;
    free(s);
    return NULL;
}

void store_free(struct store *s) {
    if (!s)
        return;
    lt_redis_free(s->redis);
    free(s);
}
