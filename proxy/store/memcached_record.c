// SPDX-License-Identifier: Apache-2.0
#include "store/memcached_record.h"

static const char magic = 'L';

// --- bytes ---

static void put(char **at, uint64_t n) {
    for (int i = 7; i >= 0; i--)
        *(*at)++ = (char)(n >> (8 * i));
}

static uint64_t get(const char **at) {
    uint64_t n = 0;
    for (int i = 0; i < 8; i++)
        n = n << 8 | (unsigned char)*(*at)++;
    return n;
}

bool lt_memcached_record_read(struct lt_span value, struct lt_memcached_record *r, struct lt_span *data) {
    *r = (struct lt_memcached_record){0};
    if (value.n < LT_MEMCACHED_HEAD || value.p[0] != magic || (unsigned char)value.p[1] > LT_MEMCACHED_TOMBSTONE)
        return false;
    const char *at = value.p + 2;
    r->kind = (enum lt_memcached_kind)value.p[1];
    r->number = get(&at);
    r->ends = (int64_t)get(&at);
    r->idle_ends = (int64_t)get(&at);
    r->lease = (int64_t)get(&at);
    memcpy(r->owner, at, LT_STORE_OWNER);
    *data = lt_span(value.p + LT_MEMCACHED_HEAD, value.n - LT_MEMCACHED_HEAD);
    return true;
}

void lt_memcached_record_write(const struct lt_memcached_record *r, char out[LT_MEMCACHED_HEAD]) {
    char *at = out;
    *at++ = magic;
    *at++ = (char)r->kind;
    put(&at, r->number);
    put(&at, (uint64_t)r->ends);
    put(&at, (uint64_t)r->idle_ends);
    put(&at, (uint64_t)r->lease);
    memcpy(at, r->owner, LT_STORE_OWNER);
}

// --- time ---

enum { SECOND = 1000, RENEW_SPARE_S = 3 };

static int64_t seconds(int64_t ms) {
    return ms > 0 ? (ms + SECOND - 1) / SECOND : 0;
}

int64_t lt_memcached_lease_seconds(int64_t lease) {
    return seconds(lease) + 1;
}

// A value that says who holds the lock outlives any lease: four of them, and is written anew when less than two are left.
int64_t lt_memcached_record_seconds(const struct lt_memcached_record *r, int64_t now) {
    int64_t record = r->kind == LT_MEMCACHED_NOTHING ? 1 : seconds(r->idle_ends - now) + 1;
    int64_t lock = r->owner[0] ? seconds(4 * r->lease) + RENEW_SPARE_S + 1 : 1;
    return record > lock ? record : lock;
}

bool lt_memcached_is_short(int64_t left, int64_t lease) {
    return left >= 0 && left < seconds(2 * lease) + RENEW_SPARE_S;
}

static int64_t least(int64_t a, int64_t b) {
    return a < b ? a : b;
}

static void forget_what_is_over(struct lt_memcached_record *r, int64_t now) {
    if (r->kind == LT_MEMCACHED_NOTHING || r->idle_ends > now)
        return;
    r->kind = LT_MEMCACHED_NOTHING;
    r->number = 0;
    r->ends = r->idle_ends = 0;
}

// Not more often than every twentieth of the time to live. False: no need.
static bool slide(const struct lt_store_op *op, struct lt_memcached_record *r, int64_t now) {
    int64_t ttl = least(op->ttl, r->ends - now);
    if (r->idle_ends - now >= ttl - ttl / 20)
        return false;
    r->idle_ends = now + ttl;
    return true;
}

// --- operations ---

static enum lt_memcached_step finish(struct lt_store_op *op, enum lt_store_result result) {
    op->result = result;
    return LT_MEMCACHED_FINISH;
}

static bool is_mine(const struct lt_store_op *op, const struct lt_memcached_record *r) {
    return r->owner[0] && strcmp(op->owner, r->owner) == 0;
}

static void give_back(const struct lt_store_op *op, struct lt_memcached_record *r) {
    if (is_mine(op, r))
        memset(r->owner, 0, sizeof r->owner);
}

static enum lt_memcached_step take_lock(struct lt_store_op *op, struct lt_memcached_record *r,
                                        enum lt_memcached_lease lease) {
    if (r->owner[0] && !is_mine(op, r) && lease != LT_MEMCACHED_OVER)
        return lease == LT_MEMCACHED_UNKNOWN ? LT_MEMCACHED_ASK_LEASE : finish(op, LT_STORE_BUSY);
    memcpy(r->owner, op->owner, sizeof r->owner);
    r->lease = op->lease;
    return LT_MEMCACHED_STORE;
}

static enum lt_memcached_step load(struct lt_store_op *op, struct lt_memcached_record *r, enum lt_memcached_lease lease,
                                   int64_t now) {
    if (r->kind != LT_MEMCACHED_DATA)
        return finish(op, r->kind == LT_MEMCACHED_TOMBSTONE ? LT_STORE_ENDED : LT_STORE_MISS);
    enum lt_memcached_step step = op->lease ? take_lock(op, r, lease) : LT_MEMCACHED_STORE;
    if (step != LT_MEMCACHED_STORE)
        return step;
    r->number += op->lease ? 1 : 0;
    bool later = slide(op, r, now);
    return op->lease || later ? LT_MEMCACHED_STORE : finish(op, LT_STORE_OK);
}

static void hold(struct lt_memcached_record *r, uint64_t number, int64_t ends, int64_t ttl, int64_t now) {
    r->kind = LT_MEMCACHED_DATA;
    r->number = number;
    r->ends = ends;
    r->idle_ends = least(now + ttl, ends);
    forget_what_is_over(r, now);
}

static enum lt_memcached_step create(struct lt_store_op *op, struct lt_memcached_record *r, int64_t now) {
    int64_t ends = op->expires > now ? op->expires : now + 1;
    hold(r, 1, ends, op->ttl > 0 ? op->ttl : 1, now);
    return op->lease ? take_lock(op, r, LT_MEMCACHED_OVER) : LT_MEMCACHED_STORE;
}

static enum lt_memcached_step save(struct lt_store_op *op, struct lt_memcached_record *r, int64_t now) {
    if (r->kind == LT_MEMCACHED_TOMBSTONE)
        return finish(op, LT_STORE_ENDED);
    uint64_t newest = r->kind == LT_MEMCACHED_DATA ? r->number : op->fence;
    if (newest > op->fence || (op->lease == 0 && newest != op->fence))
        return finish(op, LT_STORE_FENCED);
    int64_t ends = r->kind == LT_MEMCACHED_DATA ? least(op->expires, r->ends) : op->expires;
    hold(r, op->lease ? newest : newest + 1, ends, op->ttl, now);
    if (op->release)
        give_back(op, r);
    return LT_MEMCACHED_STORE;
}

static enum lt_memcached_step put_over(struct lt_store_op *op, struct lt_memcached_record *r,
                                       enum lt_memcached_lease lease, int64_t now) {
    bool there = r->kind == LT_MEMCACHED_DATA;
    if (r->kind == LT_MEMCACHED_TOMBSTONE)
        return finish(op, LT_STORE_ENDED);
    if (op->owner[0] && (!is_mine(op, r) || lease == LT_MEMCACHED_OVER))
        return finish(op, LT_STORE_BUSY);
    if (op->owner[0] && lease == LT_MEMCACHED_UNKNOWN)
        return LT_MEMCACHED_ASK_LEASE;
    if ((op->condition == LT_STORE_IF_ABSENT && there) ||
        (op->condition == LT_STORE_IF_VERSION && !(there && r->number == op->fence)))
        return finish(op, LT_STORE_FENCED);
    hold(r, (there ? r->number : (uint64_t)now) + 1, there ? r->ends : op->expires, op->ttl, now);
    if (r->kind != LT_MEMCACHED_DATA)
        return finish(op, LT_STORE_ENDED);
    return LT_MEMCACHED_STORE;
}

static enum lt_memcached_step touch(struct lt_store_op *op, struct lt_memcached_record *r, int64_t now) {
    if (r->kind != LT_MEMCACHED_DATA)
        return finish(op, r->kind == LT_MEMCACHED_TOMBSTONE ? LT_STORE_ENDED : LT_STORE_MISS);
    return slide(op, r, now) ? LT_MEMCACHED_STORE : finish(op, LT_STORE_OK);
}

static enum lt_memcached_step end(struct lt_store_op *op, struct lt_memcached_record *r, int64_t now) {
    r->kind = LT_MEMCACHED_TOMBSTONE;
    r->ends = r->idle_ends = now + op->ttl;
    give_back(op, r);
    return LT_MEMCACHED_STORE;
}

static enum lt_memcached_step expire(struct lt_store_op *op, struct lt_memcached_record *r, int64_t now) {
    if (r->kind == LT_MEMCACHED_TOMBSTONE)
        return finish(op, LT_STORE_ENDED);
    if (r->kind == LT_MEMCACHED_NOTHING || r->ends <= op->expires)
        return finish(op, LT_STORE_OK);
    hold(r, r->number, op->expires, op->ttl, now);
    return LT_MEMCACHED_STORE;
}

enum lt_memcached_step lt_memcached_record_decide(struct lt_store_op *op, struct lt_memcached_record *r,
                                                  enum lt_memcached_lease lease, int64_t now) {
    forget_what_is_over(r, now);
    switch (op->kind) {
    case LT_STORE_LOAD:
        return load(op, r, lease, now);
    case LT_STORE_CREATE:
        return create(op, r, now);
    case LT_STORE_SAVE:
        return save(op, r, now);
    case LT_STORE_PUT:
        return put_over(op, r, lease, now);
    case LT_STORE_TOUCH:
        return touch(op, r, now);
    case LT_STORE_END:
        return end(op, r, now);
    case LT_STORE_EXPIRE:
        return expire(op, r, now);
    case LT_STORE_LOCK:
        return take_lock(op, r, lease);
    case LT_STORE_RENEW:
        return is_mine(op, r) ? LT_MEMCACHED_STORE : finish(op, LT_STORE_MISS);
    default:
        return finish(op, LT_STORE_OK); // RELEASE never reads
    }
}
