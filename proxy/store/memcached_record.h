// SPDX-License-Identifier: Apache-2.0
// What memcached keeps of a session, and what each operation makes of it: plain computation, see memcached.c for the argument.
#pragma once

#include "store/store.h"

enum lt_memcached_kind { LT_MEMCACHED_NOTHING, LT_MEMCACHED_DATA, LT_MEMCACHED_TOMBSTONE };

// The head of the value; the sealed data stands behind it.
struct lt_memcached_record {
    enum lt_memcached_kind kind;
    uint64_t number;
    int64_t ends;                   // wall ms
    int64_t idle_ends;              // wall ms, never behind `ends`
    int64_t lease;                  // ms, of `owner`
    char owner[LT_STORE_OWNER + 1]; // who took the lock last and did not give it back with a write; "" is nobody
};

enum { LT_MEMCACHED_HEAD = 2 + 4 * 8 + LT_STORE_OWNER };

// False: this value is not ours.
bool lt_memcached_record_read(struct lt_span value, struct lt_memcached_record *r, struct lt_span *data);
void lt_memcached_record_write(const struct lt_memcached_record *r, char out[LT_MEMCACHED_HEAD]);

// Does the lease of the record's owner still run? Only memcached knows.
enum lt_memcached_lease { LT_MEMCACHED_UNKNOWN, LT_MEMCACHED_RUNS, LT_MEMCACHED_OVER };

enum lt_memcached_step {
    LT_MEMCACHED_FINISH,    // op->result is set
    LT_MEMCACHED_ASK_LEASE, // of the record's owner, then decide again
    LT_MEMCACHED_STORE,     // the record as it is now; then the operation has succeeded
};

// `now`: wall ms. Changes `r` to what is to be stored, and the op not at all but for its result: it may have to be decided again.
// A record whose time is over counts as none.
enum lt_memcached_step lt_memcached_record_decide(struct lt_store_op *op, struct lt_memcached_record *r,
                                                  enum lt_memcached_lease lease, int64_t now);

// Does storing this operation's record begin a lease?
static inline bool lt_memcached_locks(const struct lt_store_op *op) {
    return op->lease && (op->kind == LT_STORE_LOAD || op->kind == LT_STORE_CREATE || op->kind == LT_STORE_LOCK);
}

// Seconds that memcached is to keep the value, and the key of a lease: rounded up, and one more, since its clock ticks in seconds.
int64_t lt_memcached_record_seconds(const struct lt_memcached_record *r, int64_t now);
int64_t lt_memcached_lease_seconds(int64_t lease);

// RENEW: must the value's time be prolonged, too, when it has `left` seconds?
bool lt_memcached_is_short(int64_t left, int64_t lease);
