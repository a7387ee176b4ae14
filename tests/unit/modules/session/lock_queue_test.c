// SPDX-License-Identifier: Apache-2.0
#include "modules/session/lock_queue.h"

#include "tests/rig/leaks.h"

#include <criterion/criterion.h>

TestSuite(lock_queue, .fini = lt_rig_leaks);

static struct lock_queue queue;
static struct lock_place *turn_of; // who was called last
static unsigned turns;

static void on_turn(struct lock_place *p) {
    turn_of = p;
    turns++;
}

static bool enter(struct lock_place *p, const char *hash) {
    p->hash = hash;
    p->turn = on_turn;
    return lock_enter(&queue, p);
}

static void leave(struct lock_place *p) {
    turn_of = NULL;
    lock_leave(&queue, p);
}

Test(lock_queue, turns_come_in_the_order_of_arrival) {
    struct lock_place p[4];
    lock_queue_init(&queue);
    cr_assert(enter(&p[0], "ab"));
    for (int i = 1; i < 4; i++)
        cr_assert_not(enter(&p[i], "ab"));
    for (int i = 0; i < 3; i++) {
        leave(&p[i]);
        cr_assert_eq(turn_of, &p[i + 1]);
    }
    leave(&p[3]);
    cr_assert_null(turn_of);
    cr_assert(enter(&p[0], "ab"), "the line is empty again");
}

Test(lock_queue, sessions_do_not_wait_for_each_other) {
    struct lock_place a, b, c;
    lock_queue_init(&queue);
    cr_assert(enter(&a, "ab-one"));
    cr_assert(enter(&b, "ab-two"), "the same bucket, another session");
    cr_assert_not(enter(&c, "ab-two"));
    leave(&a);
    cr_assert_null(turn_of);
    leave(&b);
    cr_assert_eq(turn_of, &c);
}

Test(lock_queue, who_gives_up_in_the_middle_is_passed_over) {
    struct lock_place p[4];
    lock_queue_init(&queue);
    for (int i = 0; i < 4; i++)
        enter(&p[i], "ab");
    leave(&p[1]);
    cr_assert_null(turn_of, "it was not its turn");
    leave(&p[0]);
    cr_assert_eq(turn_of, &p[2]);
    leave(&p[3]);
    cr_assert_null(turn_of);
    leave(&p[2]);
    cr_assert_null(turn_of);
    leave(&p[2]);
    cr_assert_null(turn_of, "leaving twice does nothing");
}
