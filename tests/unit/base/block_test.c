// SPDX-License-Identifier: Apache-2.0
#include "base/block.h"

#include "base/sanitizer.h"
#include "tests/rig/leaks.h"

#include <criterion/criterion.h>
#include <stdint.h>
#include <string.h>

TestSuite(block, .fini = lt_rig_leaks);

Test(block, come_and_go) {
    struct lt_block_pool p;
    struct lt_block *b[100];
    lt_block_pool_init(&p, 1000);
    for (int round = 0; round < 2; round++) {
        for (int i = 0; i < 100; i++) {
            b[i] = lt_block_take(&p);
            cr_assert(b[i] && (uintptr_t)b[i]->data % _Alignof(max_align_t) == 0);
            memset(b[i]->data, i, 1000);
        }
        cr_assert(p.out == 100 && p.kept == 0);
        for (int i = 0; i < 100; i++)
            cr_assert_eq(((char *)b[i]->data)[999], i, "each has its own memory");
        for (int i = 0; i < 100; i++)
            lt_block_give(&p, b[i]);
        cr_assert_eq(p.out, 0);
        cr_assert(LT_ASAN ? p.kept == 0 : p.kept > 0 && p.kept < 100, "some are kept, not all");
    }
    lt_block_pool_fini(&p);
}
