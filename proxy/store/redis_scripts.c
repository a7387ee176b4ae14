// SPDX-License-Identifier: Apache-2.0
#include "store/redis_scripts.h"

#include <openssl/sha.h>
#include <stdio.h>

// A tombstone is known by its end, "0": reading the whole record only to see that it is none would cost more than writing it.

// ARGV: owner lease ttl now
static const char load_script[] =
    "local v = redis.call('HMGET', KEYS[1], 'd', 'e', 'f')\n"
    "if not v[1] then return {'miss'} end\n"
    "if v[1] == '' then return {'ended'} end\n"
    "local ttl = math.min(tonumber(ARGV[3]), tonumber(v[2]) - tonumber(ARGV[4]))\n"
    "if ttl <= 0 then redis.call('DEL', unpack(KEYS)) return {'miss'} end\n"
    "local fence = tonumber(v[3])\n"
    "if ARGV[2] ~= '0' then\n"
    "  if not redis.call('SET', KEYS[2], ARGV[1], 'PX', ARGV[2], 'NX') and redis.call('GET', KEYS[2]) ~= ARGV[1] then\n"
    "    return {'busy'}\n"
    "  end\n"
    "  fence = redis.call('HINCRBY', KEYS[1], 'f', 1)\n"
    "end\n"
    "if redis.call('PTTL', KEYS[1]) < ttl * 0.95 then redis.call('PEXPIRE', KEYS[1], ttl) end\n"
    "return {'ok', v[1], fence}\n";

// ARGV: owner lease ttl now data expires fence release condition tag
static const char create_script[] =
    "redis.call('HSET', KEYS[1], 'd', ARGV[5], 'e', ARGV[6], 'f', 1)\n"
    "if ARGV[10] ~= '' then redis.call('HSET', KEYS[1], 'a', ARGV[10]) end\n"
    "redis.call('PEXPIRE', KEYS[1], math.max(1, math.min(tonumber(ARGV[3]), tonumber(ARGV[6]) - tonumber(ARGV[4]))))\n"
    "if ARGV[2] ~= '0' then redis.call('SET', KEYS[2], ARGV[1], 'PX', ARGV[2]) end\n"
    "return {'ok', '', 1}\n";

// ARGV: owner lease ttl now data expires fence release condition tag. The absolute end only comes nearer (that of an old token, after a
// rotation). With a lease the fence must be the newest; without, it is the version that
// was loaded: who wrote in between wins, and the caller loads again.
static const char save_script[] =
    "local v = redis.call('HMGET', KEYS[1], 'e', 'f')\n"
    "if v[1] == '0' then return {'ended'} end\n"
    "local newest, fence = tonumber(v[2] or ARGV[7]), tonumber(ARGV[7])\n"
    "if newest > fence or (ARGV[2] == '0' and newest ~= fence) then return {'fenced'} end\n"
    "if ARGV[2] == '0' then newest = newest + 1 end\n"
    "local expires = math.min(tonumber(ARGV[6]), tonumber(v[1] or ARGV[6]))\n"
    "local ttl = math.min(tonumber(ARGV[3]), expires - tonumber(ARGV[4]))\n"
    "if ttl <= 0 then redis.call('DEL', KEYS[1]) else\n"
    "  redis.call('HSET', KEYS[1], 'd', ARGV[5], 'e', string.format('%.0f', expires), 'f', newest)\n"
    "  if ARGV[10] ~= '' then redis.call('HSET', KEYS[1], 'a', ARGV[10]) end\n"
    "  redis.call('PEXPIRE', KEYS[1], ttl)\n"
    "end\n"
    "if ARGV[8] == '1' and redis.call('GET', KEYS[2]) == ARGV[1] then redis.call('DEL', KEYS[2]) end\n"
    "return {'ok'}\n";

// ARGV: owner lease ttl now data expires fence release condition tag. The absolute end is the first write's. A record that comes anew
// begins with a number that none before it had.
static const char put_script[] =
    "local v = redis.call('HMGET', KEYS[1], 'e', 'f')\n"
    "if v[1] == '0' then return {'ended'} end\n"
    "if ARGV[1] ~= '' and redis.call('GET', KEYS[2]) ~= ARGV[1] then return {'busy'} end\n"
    "if ARGV[9] == '1' and v[1] or ARGV[9] == '2' and v[2] ~= ARGV[7] then return {'fenced'} end\n"
    "local expires = tonumber(v[1] or ARGV[6])\n"
    "local ttl = math.min(tonumber(ARGV[3]), expires - tonumber(ARGV[4]))\n"
    "if ttl <= 0 then redis.call('DEL', KEYS[1]) return {'ended'} end\n"
    "local version = tonumber(v[2] or ARGV[4]) + 1\n"
    "local text = string.format('%.0f', version)\n"
    "redis.call('HSET', KEYS[1], 'd', ARGV[5], 'e', string.format('%.0f', expires), 'f', text)\n"
    "if ARGV[10] ~= '' then redis.call('HSET', KEYS[1], 'a', ARGV[10]) end\n"
    "redis.call('PEXPIRE', KEYS[1], ttl)\n"
    "return {'ok', '', version}\n";

// ARGV: owner lease ttl now
static const char touch_script[] =
    "local ends = redis.call('HMGET', KEYS[1], 'e')[1]\n"
    "if not ends then return {'miss'} end\n"
    "if ends == '0' then return {'ended'} end\n"
    "local ttl = math.min(tonumber(ARGV[3]), tonumber(ends) - tonumber(ARGV[4]))\n"
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
static const char end_script[] =
    "redis.call('HSET', KEYS[1], 'd', '', 'e', '0')\n"
    "redis.call('PEXPIRE', KEYS[1], ARGV[3])\n"
    "if KEYS[2] and redis.call('GET', KEYS[2]) == ARGV[1] then redis.call('DEL', KEYS[2]) end\n"
    "return {'ok'}\n";

// ARGV: owner lease ttl now data expires
static const char expire_script[] =
    "local ends = redis.call('HMGET', KEYS[1], 'e')[1]\n"
    "if ends == '0' then return {'ended'} end\n"
    "if not ends or tonumber(ends) <= tonumber(ARGV[6]) then return {'ok'} end\n"
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

static const struct {
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

struct lt_span redis_script(enum lt_store_kind kind) {
    return lt_span(scripts[kind].text, scripts[kind].n);
}

void redis_script_digest(enum lt_store_kind kind, char out[REDIS_DIGEST + 1]) {
    unsigned char digest[SHA_DIGEST_LENGTH];
    SHA1((const unsigned char *)scripts[kind].text, scripts[kind].n, digest);
    for (unsigned i = 0; i < SHA_DIGEST_LENGTH; i++)
        snprintf(out + 2 * i, 3, "%02x", digest[i]);
}
