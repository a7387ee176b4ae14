// SPDX-License-Identifier: Apache-2.0
#include "base/arena.h"

#include "base/sanitizer.h"
#include "tests/rig/leaks.h"

#include <criterion/criterion.h>
#include <stdalign.h>
#include <stdint.h>

TestSuite(arena, .fini = lt_rig_leaks);

Test(arena, pieces_are_aligned_and_apart) {
    struct lt_arena a;
    unsigned char *pieces[300];
    lt_arena_init(&a, 1 << 20);
    for (unsigned i = 0; i < 300; i++) {
        pieces[i] = lt_arena_alloc(&a, i + 1);
        cr_assert_not_null(pieces[i]);
        cr_assert_eq((uintptr_t)pieces[i] % alignof(max_align_t), 0, "piece %u", i);
        memset(pieces[i], (int)(i & 255), i + 1);
    }
    for (unsigned i = 0; i < 300; i++)
        for (unsigned j = 0; j <= i; j++)
            cr_assert_eq(pieces[i][j], i & 255, "piece %u was written by another", i);
    lt_arena_fini(&a);
}

Test(arena, the_limit_holds_to_the_byte) {
    struct lt_arena a;
    lt_arena_init(&a, 100);
    cr_assert_not_null(lt_arena_alloc(&a, 60));
    cr_assert_null(lt_arena_alloc(&a, 41));
    cr_assert_null(lt_arena_alloc(&a, SIZE_MAX), "no wrap-around");
    cr_assert_not_null(lt_arena_alloc(&a, 40), "a refused piece takes nothing");
    cr_assert_null(lt_arena_alloc(&a, 1));
    lt_arena_fini(&a);
    cr_assert_not_null(lt_arena_alloc(&a, 100), "it can be used again");
    lt_arena_fini(&a);
}

Test(arena, a_piece_larger_than_a_chunk) {
    struct lt_arena a;
    lt_arena_init(&a, 1 << 20);
    char *small = lt_arena_alloc(&a, 10), *large = lt_arena_alloc(&a, 100000);
    cr_assert(small && large);
    memset(small, 's', 10);
    memset(large, 'l', 100000);
    cr_assert_eq(small[9], 's');
    lt_arena_fini(&a);
}

Test(arena, clears_and_copies) {
    struct lt_arena a;
    lt_arena_init(&a, 4096);
    char *zero = lt_arena_zalloc(&a, 64);
    for (unsigned i = 0; i < 64; i++)
        cr_assert_eq(zero[i], 0);
    struct lt_span copy = lt_arena_dup(&a, LT_S("a\0b"));
    cr_assert(lt_span_eq(copy, LT_S("a\0b")));
    cr_assert_eq(copy.p[3], '\0');
    struct lt_span empty = lt_arena_dup(&a, lt_span(NULL, 0));
    cr_assert(empty.p && empty.n == 0 && *empty.p == '\0', "an empty copy is not \"no room\"");
    cr_assert(lt_span_eq(lt_arena_printf(&a, "%s-%d", "x", 42), LT_S("x-42")));
    lt_arena_fini(&a);
}

Test(arena, no_room_is_told) {
    struct lt_arena a;
    lt_arena_init(&a, 4);
    cr_assert_null(lt_arena_dup(&a, LT_S("four")).p, "its NUL does not fit");
    cr_assert_null(lt_arena_printf(&a, "%d", 1234).p);
    cr_assert_null(lt_arena_zalloc(&a, 5));
    cr_assert(lt_span_eq(lt_arena_dup(&a, LT_S("abc")), LT_S("abc")));
    lt_arena_fini(&a);
}

Test(arena, joins) {
    struct lt_arena a;
    lt_arena_init(&a, 100);
    struct lt_span s = LT_JOIN(&a, LT_S("for="), lt_span(NULL, 0), LT_S("a"), LT_S(";"));
    cr_assert(lt_span_eq(s, LT_S("for=a;")) && s.p[s.n] == '\0');
    s = LT_JOIN(&a, LT_S(""));
    cr_assert(s.p && s.n == 0);
    cr_assert_null(LT_JOIN(&a, lt_span(s.p, 0),
                           LT_S("0123456789012345678901234567890123456789012345678901234567890123456789"
                                "0123456789012345678901234567890123456789"))
                       .p,
                   "over the limit");
    lt_arena_fini(&a);
}

Test(arena, begins_in_what_is_lent) {
    static _Alignas(max_align_t) char room[512];
    struct lt_arena a;
    for (int round = 0; round < 2; round++) {
        lt_arena_init(&a, 4096);
        lt_arena_lend(&a, room, sizeof room);
        char *first = lt_arena_alloc(&a, 100), *large = lt_arena_alloc(&a, 1000), *last = lt_arena_alloc(&a, 100);
        cr_assert(first && large && last);
        memset(first, 1, 100);
        memset(large, 2, 1000);
        memset(last, 3, 100);
        cr_assert(first[99] == 1 && large[999] == 2);
        if (!LT_ASAN)
            cr_assert(first >= room && first + 100 <= room + sizeof room &&
                      (large < room || large >= room + sizeof room));
        lt_arena_fini(&a); // what was lent is not freed
    }
}
