// SPDX-License-Identifier: Apache-2.0
// Sessions in Redis. A record is a hash  <prefix>:{<token's hash>}  with the fields
//   d  the sealed record; empty is a tombstone      e  its absolute end, wall ms
//   f  the last fence that was given out, or without locks the version
// and a lock  <prefix>:{<token's hash>}:lock  whose value is its owner. The braces keep both in one slot of a cluster.
// Every operation is one script and one round trip, and may be repeated without harm when an answer was lost.
#include "store/driver.h"

#include "base/clock.h"
#include "base/log.h"
#include "net/redis.h"

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

// ARGV: owner lease ttl now data expires fence release condition. The absolute end is the first write's. A record that comes anew
// begins with a number that none before it had.
static const char put_script[] =
    "local v = redis.call('HMGET', KEYS[1], 'd', 'e', 'f')\n"
    "if v[1] == '' then return {'ended'} end\n"
    "if ARGV[1] ~= '' and redis.call('GET', KEYS[2]) ~= ARGV[1] then return {'busy'} end\n"
    "if ARGV[9] == '1' and v[1] or ARGV[9] == '2' and v[3] ~= ARGV[7] then return {'fenced'} end\n"
    "local expires = tonumber(v[2] or ARGV[6])\n"
    "local ttl = math.min(tonumber(ARGV[3]), expires - tonumber(ARGV[4]))\n"
    "if ttl <= 0 then redis.call('DEL', KEYS[1]) return {'ended'} end\n"
    "local version = tonumber(v[3] or ARGV[4]) + 1\n"
    "local text = string.format('%.0f', version)\n"
    "redis.call('HSET', KEYS[1], 'd', ARGV[5], 'e', string.format('%.0f', expires), 'f', text)\n"
    "redis.call('PEXPIRE', KEYS[1], ttl)\n"
    "return {'ok', '', version}\n";

// ARGV: owner lease ttl now
static const char touch_script[] =
    "local v = redis.call('HMGET', KEYS[1], 'd', 'e')\n"
    "if not v[1] then return {'miss'} end\n"
    "if v[1] == '' then return {'ended'} end\n"
    "local ttl = math.min(tonumber(ARGV[3]), tonumber(v[2]) - tonumber(ARGV[4]))\n"
    "if ttl <= 0 then redis.call('DEL', KEYS[1]) return {'miss'} end\n"
    "if redis.call('PTTL', KEYS[1]) < ttl * 0.95 then redis.call('PEXPIRE', KEYS[1], ttl) end\n"
    "return {'ok'}\n";

// ARGV: owner lease
static const char lock_script[] =
    "if redis.call('SET', KEYS[2], ARGV[1], 'PX', ARGV[2], 'NX') or redis.call('GET', KEYS[2]) == ARGV[1] then\n"
    "  return {'ok'}\n"
    "end\n"
    "return {'busy'}\n";

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
} scripts[LT_STORE_KINDS] = {
    [LT_STORE_LOAD] = {load_script, sizeof load_script - 1},
    [LT_STORE_CREATE] = {create_script, sizeof create_script - 1},
    [LT_STORE_SAVE] = {save_script, sizeof save_script - 1},
    [LT_STORE_PUT] = {put_script, sizeof put_script - 1},
    [LT_STORE_TOUCH] = {touch_script, sizeof touch_script - 1},
    [LT_STORE_LOCK] = {lock_script, sizeof lock_script - 1},
    [LT_STORE_END] = {end_script, sizeof end_script - 1},
    [LT_STORE_EXPIRE] = {expire_script, sizeof expire_script - 1},
    [LT_STORE_RENEW] = {renew_script, sizeof renew_script - 1},
    [LT_STORE_RELEASE] = {release_script, sizeof release_script - 1},
};

enum { AGAIN_MS = 30 };

struct redis_store {
    struct lt_store store;
    struct lt_redis *redis;
    char digests[LT_STORE_KINDS][41];
};

// An operation on its way, in the op's room for the driver.
struct command {
    struct lt_redis_call call;
    struct lt_timer again;
    struct lt_store_op *op;
    unsigned tries;
    bool whole_script;
};
_Static_assert(sizeof(struct command) <= LT_STORE_DRIVER_ROOM, "lt_store_op.driver");

static struct command *command_of(struct lt_store_op *op) {
    return (struct command *)op->driver;
}

static struct redis_store *store_of(const struct lt_store_op *op) {
    return (struct redis_store *)op->store;
}

static struct lt_span number(char *out, size_t size, int64_t value) {
    int n = snprintf(out, size, "%lld", (long long)value);
    return lt_span(out, (size_t)n);
}

static void send_op(struct lt_store_op *op) {
    struct redis_store *s = store_of(op);
    struct command *command = command_of(op);
    char key[160], lock[160], texts[5][24];
    int n = snprintf(key, sizeof key, "%s:{%s}", s->store.prefix, op->hash);
    int m = snprintf(lock, sizeof lock, "%s:{%s}:lock", s->store.prefix, op->hash);
    static const struct lt_span conditions[] = {{"0", 1}, {"1", 1}, {"2", 1}};
    const struct script *script = &scripts[op->kind];
    struct lt_span args[] = {
        command->whole_script ? LT_S("EVAL") : LT_S("EVALSHA"),
        command->whole_script ? lt_span(script->text, script->n) : lt_span(s->digests[op->kind], 40),
        LT_S("2"),
        lt_span(key, (size_t)n),
        lt_span(lock, (size_t)m),
        lt_span_cstr(op->owner),
        number(texts[0], sizeof texts[0], op->lease),
        number(texts[1], sizeof texts[1], op->ttl),
        number(texts[2], sizeof texts[2], lt_clock_wall()),
        op->kind == LT_STORE_LOAD ? lt_span("", 0) : lt_buf_span(&op->data),
        number(texts[3], sizeof texts[3], op->expires),
        number(texts[4], sizeof texts[4], (int64_t)op->fence),
        op->release ? LT_S("1") : LT_S("0"),
        conditions[op->condition],
    };
    lt_redis_send(s->redis, &command->call, args, sizeof args / sizeof *args);
}

static enum lt_store_result verdict(const redisReply *word) {
    static const char *const words[] = {"ok", "miss", "ended", "busy", "fenced"};
    for (unsigned i = 0; word->type == REDIS_REPLY_STRING && i < sizeof words / sizeof *words; i++)
        if (strcmp(word->str, words[i]) == 0)
            return (enum lt_store_result)i;
    return LT_STORE_DOWN;
}

static void read_reply(struct lt_store_op *op, const redisReply *reply) {
    op->result = LT_STORE_DOWN;
    if (reply->type == REDIS_REPLY_ERROR) {
        LT_LOG(LT_LOG_WARN, "store_error", lt_fs("error", reply->str));
        return;
    }
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

// A write that was not sent, or whose answer was lost, is tried again for as long as somebody can wait for it: a look-up may fail at
// once, but a lock that is not given back stops its session. Repeating does no harm.
static bool is_worth_another_try(const struct lt_store_op *op, enum lt_err e) {
    bool unheard = e == LT_ERR_REFUSED || e == LT_ERR_CLOSED || e == LT_ERR_RESET || e == LT_ERR_IO;
    bool writes = op->kind != LT_STORE_LOAD && op->kind != LT_STORE_RENEW;
    int64_t patience = op->kind == LT_STORE_RELEASE ? op->lease : op->store->timeout;
    return writes && unheard && lt_clock_mono() - op->began + AGAIN_MS < patience;
}

static void on_again(struct lt_timer *t) {
    send_op(LT_ENTRY(t, struct command, again)->op);
}

static void on_reply(struct lt_redis_call *call, enum lt_err e, const redisReply *reply) {
    struct command *command = LT_ENTRY(call, struct command, call);
    struct lt_store_op *op = command->op;
    bool lost = e == LT_ERR_CLOSED || e == LT_ERR_RESET;
    bool unknown = reply && reply->type == REDIS_REPLY_ERROR && strncmp(reply->str, "NOSCRIPT", 8) == 0;
    if ((lost || unknown) && command->tries++ < 2) {
        command->whole_script = command->whole_script || unknown;
        send_op(op);
        return;
    }
    if (!reply && is_worth_another_try(op, e)) {
        lt_timer_set(op->store->loop, &command->again, AGAIN_MS);
        return;
    }
    if (reply)
        read_reply(op, reply);
    else
        op->result = LT_STORE_DOWN;
    lt_store_finish(op);
}

static void submit(struct lt_store *s, struct lt_store_op *op) {
    struct command *command = command_of(op);
    (void)s;
    *command = (struct command){.op = op, .call = {.done = on_reply}};
    lt_timer_init(&command->again, on_again);
    send_op(op);
}

static struct lt_store *open_store(const struct lt_store_options *o) {
    struct redis_store *s = calloc(1, sizeof *s);
    struct lt_arena arena;
    struct lt_redis_options options;
    const char *error;
    if (!s)
        return NULL;
    lt_arena_init(&arena, 16384);
    for (unsigned k = 0; k < LT_STORE_KINDS; k++) {
        unsigned char digest[SHA_DIGEST_LENGTH];
        SHA1((const unsigned char *)scripts[k].text, scripts[k].n, digest);
        for (unsigned i = 0; i < SHA_DIGEST_LENGTH; i++)
            snprintf(s->digests[k] + 2 * i, 3, "%02x", digest[i]);
    }
    if (lt_redis_url(o->url, &arena, &options, &error)) {
        options.timeout = o->timeout;
        s->redis = lt_redis_new(o->loop, &options);
    }
    lt_arena_fini(&arena);
    if (s->redis)
        return &s->store;
    free(s);
    return NULL;
}

static void close_store(struct lt_store *s) {
    struct redis_store *r = (struct redis_store *)s;
    lt_redis_free(r->redis);
    free(r);
}

static const char *check(struct lt_span url) {
    struct lt_arena arena;
    struct lt_redis_options ignored;
    const char *error = NULL;
    lt_arena_init(&arena, 16384);
    bool ok = lt_redis_url(url, &arena, &ignored, &error);
    lt_arena_fini(&arena);
    return ok ? NULL : error;
}

static bool breaker_is_open(const struct lt_store *s) {
    return lt_redis_is_open(((const struct redis_store *)s)->redis);
}

const struct lt_store_driver lt_store_redis = {
    .scheme = "redis://",
    .check = check,
    .open = open_store,
    .close = close_store,
    .submit = submit,
    .breaker_is_open = breaker_is_open,
};

const struct lt_store_driver lt_store_redis_unix = {
    .scheme = "redis+unix://",
    .check = check,
    .open = open_store,
    .close = close_store,
    .submit = submit,
    .breaker_is_open = breaker_is_open,
};
