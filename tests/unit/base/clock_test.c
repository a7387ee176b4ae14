// SPDX-License-Identifier: Apache-2.0
#include "base/clock.h"

#include "tests/rig/leaks.h"

#include <criterion/criterion.h>

TestSuite(clock, .fini = lt_rig_leaks);

static void spin_until_later(int64_t than) {
    lt_clock_turns_end();
    while (lt_clock_mono() <= than) {
    }
}

Test(clock, a_turn_reads_it_once) {
    lt_clock_turn();
    int64_t mono = lt_clock_mono(), wall = lt_clock_wall();
    for (int i = 0; i < 3000000; i++) // some milliseconds
        cr_assert(lt_clock_mono() == mono && lt_clock_wall() == wall);
    spin_until_later(mono);
    cr_assert_gt(lt_clock_mono(), mono, "outside of turns it goes");
    lt_clock_turn();
    cr_assert_gt(lt_clock_mono(), mono, "a new turn looks anew");
    lt_clock_turns_end();
}

Test(clock, a_test_can_hold_it) {
    lt_clock_turn();
    lt_clock_set(5, 7);
    cr_assert(lt_clock_mono() == 5 && lt_clock_wall() == 7);
    lt_clock_set(6, 8);
    cr_assert(lt_clock_mono() == 6 && lt_clock_wall() == 8, "within a turn, too");
    lt_clock_set(-1, -1);
    lt_clock_turns_end();
}
