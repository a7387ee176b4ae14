// SPDX-License-Identifier: Apache-2.0
// What tests/store/ cannot see from outside: that deciding again is deciding anew, and what memcached is told about time.
#include "store/memcached_record.h"

#include "tests/rig/leaks.h"

#include <criterion/criterion.h>

TestSuite(memcached_record, .fini = lt_rig_leaks);

enum { NOW = 1000000, MINUTE = 60000 };

static struct lt_memcached_record live(void) {
    return (struct lt_memcached_record){
        .kind = LT_MEMCACHED_DATA, .number = 7, .ends = NOW + 9 * MINUTE, .idle_ends = NOW + MINUTE};
}

static struct lt_store_op *op_of(enum lt_store_kind kind, const char *owner, int64_t lease) {
    struct lt_store_op *op = lt_store_op_new(kind);
    cr_assert(op);
    memcpy(op->owner, owner, strlen(owner));
    op->lease = lease;
    op->ttl = MINUTE;
    op->expires = NOW + 9 * MINUTE;
    return op;
}

Test(memcached_record, is_read_as_written) {
    char out[LT_MEMCACHED_HEAD + 3] = {0};
    struct lt_memcached_record r = live(), again;
    struct lt_span data;
    r.number = UINT64_MAX - 1;
    r.lease = 15000;
    memset(r.owner, 'o', LT_STORE_OWNER);
    lt_memcached_record_write(&r, out);
    memcpy(out + LT_MEMCACHED_HEAD, "a\0b", 3);
    cr_assert(lt_memcached_record_read(lt_span(out, sizeof out), &again, &data));
    cr_assert_eq(again.kind, r.kind);
    cr_assert_eq(again.number, r.number);
    cr_assert_eq(again.ends, r.ends);
    cr_assert_eq(again.idle_ends, r.idle_ends);
    cr_assert_eq(again.lease, r.lease);
    cr_assert_str_eq(again.owner, r.owner);
    cr_assert(lt_span_eq(data, lt_span("a\0b", 3)));
    for (size_t n = 0; n < LT_MEMCACHED_HEAD; n++)
        cr_assert_not(lt_memcached_record_read(lt_span(out, n), &again, &data));
    out[1] = 3;
    cr_assert_not(lt_memcached_record_read(lt_span(out, sizeof out), &again, &data));
}

// A swap that failed is decided again with the same op: a condition that held by what was decided before would let a second writer in.
Test(memcached_record, deciding_changes_no_condition) {
    struct lt_memcached_record r = live();
    struct lt_store_op *op = op_of(LT_STORE_PUT, "", 0);
    op->condition = LT_STORE_IF_VERSION;
    op->fence = 7;
    cr_assert_eq(lt_memcached_record_decide(op, &r, LT_MEMCACHED_UNKNOWN, NOW), LT_MEMCACHED_STORE);
    cr_assert_eq(r.number, 8);
    cr_assert_eq(lt_memcached_record_decide(op, &r, LT_MEMCACHED_UNKNOWN, NOW), LT_MEMCACHED_FINISH);
    cr_assert_eq(op->result, LT_STORE_FENCED);
    lt_store_op_free(op);
}

Test(memcached_record, the_lease_is_asked_for_only_of_others) {
    struct lt_memcached_record r = live();
    struct lt_store_op *op = op_of(LT_STORE_LOAD, "me", 5000);
    cr_assert_eq(lt_memcached_record_decide(op, &r, LT_MEMCACHED_UNKNOWN, NOW), LT_MEMCACHED_STORE);
    cr_assert_str_eq(r.owner, "me");
    cr_assert_eq(lt_memcached_record_decide(op, &r, LT_MEMCACHED_UNKNOWN, NOW), LT_MEMCACHED_STORE);
    cr_assert_eq(r.number, 9);
    memcpy(r.owner, "he", 3);
    cr_assert_eq(lt_memcached_record_decide(op, &r, LT_MEMCACHED_UNKNOWN, NOW), LT_MEMCACHED_ASK_LEASE);
    cr_assert_eq(lt_memcached_record_decide(op, &r, LT_MEMCACHED_RUNS, NOW), LT_MEMCACHED_FINISH);
    cr_assert_eq(op->result, LT_STORE_BUSY);
    cr_assert_str_eq(r.owner, "he");
    cr_assert_eq(lt_memcached_record_decide(op, &r, LT_MEMCACHED_OVER, NOW), LT_MEMCACHED_STORE);
    cr_assert_str_eq(r.owner, "me");
    lt_store_op_free(op);
}

// The value is kept for longer than any lease in it, and RENEW sees in time when it is not.
Test(memcached_record, a_lock_never_outlives_its_value) {
    for (int64_t lease = 1; lease < 100000; lease += 997) {
        struct lt_memcached_record r = {.lease = lease, .owner = "me"};
        int64_t kept = lt_memcached_record_seconds(&r, NOW), leased = lt_memcached_lease_seconds(lease);
        cr_assert(leased * 1000 >= lease + 1000);
        cr_assert(kept > leased);
        for (int64_t left = 0; left <= kept; left++)
            cr_assert(lt_memcached_is_short(left, lease) || left > leased);
    }
    cr_assert_not(lt_memcached_is_short(-1, 5000), "for ever");
}

Test(memcached_record, seconds_are_rounded_up) {
    struct lt_memcached_record r = live();
    r.idle_ends = NOW + 1001;
    cr_assert_eq(lt_memcached_record_seconds(&r, NOW), 3);
    r.idle_ends = NOW + 1;
    cr_assert_eq(lt_memcached_record_seconds(&r, NOW), 2);
    r.kind = LT_MEMCACHED_NOTHING;
    cr_assert_eq(lt_memcached_record_seconds(&r, NOW), 1, "0 would be for ever");
}
