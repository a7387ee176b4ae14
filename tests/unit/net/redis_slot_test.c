// SPDX-License-Identifier: Apache-2.0
// Known answers: the Redis cluster specification, appendix A, and CLUSTER KEYSLOT of Redis 7.0.
#include "net/redis_slot.h"

#include <criterion/criterion.h>

static char address[LT_ADDRESS_TEXT];
static unsigned slot;

static enum lt_redis_redirect read(const char *error) {
    address[0] = '\0';
    slot = 99999;
    return lt_redis_redirect(lt_span_cstr(error), LT_S("10.0.0.1:7000"), &slot, address);
}

static unsigned slot_of(const char *key) {
    return lt_redis_slot(lt_span_cstr(key));
}

Test(redis_slot, crc16) {
    cr_expect_eq(lt_redis_crc16(LT_S("123456789")), 0x31C3);
    cr_expect_eq(lt_redis_crc16(LT_S("")), 0);
}

Test(redis_slot, slots) {
    cr_expect_eq(slot_of("foo"), 12182);
    cr_expect_eq(slot_of("bar"), 5061);
    cr_expect_eq(slot_of(""), 0);
}

Test(redis_slot, what_is_in_braces_counts) {
    cr_expect_eq(slot_of("{user1000}.following"), slot_of("{user1000}.followers"));
    cr_expect_eq(slot_of("{user1000}.following"), slot_of("user1000"));
    cr_expect_eq(slot_of("foo{}{bar}"), lt_redis_crc16(LT_S("foo{}{bar}")) % LT_REDIS_SLOTS);
    cr_expect_eq(slot_of("foo{{bar}}zap"), slot_of("{bar"));
    cr_expect_eq(slot_of("foo{bar}{zap}"), slot_of("bar"));
    cr_expect_eq(slot_of("foo{bar"), lt_redis_crc16(LT_S("foo{bar")) % LT_REDIS_SLOTS);
    cr_expect_eq(slot_of("lethe:{abc}"), slot_of("lethe:{abc}:lock"));
}

Test(redis_slot, redirections) {
    cr_assert_eq(read("MOVED 3999 127.0.0.1:6381"), LT_REDIS_MOVED);
    cr_expect_eq(slot, 3999);
    cr_expect_str_eq(address, "127.0.0.1:6381");
    cr_assert_eq(read("ASK 16383 db.example:7001"), LT_REDIS_ASK);
    cr_expect_eq(slot, 16383);
    cr_expect_str_eq(address, "db.example:7001");
    cr_assert_eq(read("MOVED 1 ::1:6381"), LT_REDIS_MOVED);
    cr_expect_str_eq(address, "[::1]:6381");
    cr_assert_eq(read("MOVED 1 :6381"), LT_REDIS_MOVED);
    cr_expect_str_eq(address, "10.0.0.1:6381");
    cr_assert_eq(read("MOVED 1 ?:6381"), LT_REDIS_MOVED);
    cr_expect_str_eq(address, "10.0.0.1:6381");
}

Test(redis_slot, what_is_no_redirection) {
    static const char *const others[] = {
        "",
        "MOVED",
        "MOVED 1",
        "MOVED 16384 a:1",
        "MOVED -1 a:1",
        "MOVED x a:1",
        "MOVED 1 a",
        "MOVED 1 a:70000",
        "MOVED 1 a:",
        "moved 1 a:1",
        "MOVEDX 1 a:1",
        "ERR MOVED 1 a:1",
        "TRYAGAIN x",
        "CLUSTERDOWN x",
        "MOVED  1 a:1",
        "ASK 1 a b:1",
        "MOVED 99999999999999999999 a:1",
    };
    for (unsigned i = 0; i < sizeof others / sizeof *others; i++)
        cr_expect_eq(read(others[i]), LT_REDIS_STAY, "%s", others[i]);
    char long_one[400] = "MOVED 1 ";
    memset(long_one + 8, 'a', 300);
    memcpy(long_one + 308, ":1", 3);
    cr_expect_eq(read(long_one), LT_REDIS_STAY);
}
