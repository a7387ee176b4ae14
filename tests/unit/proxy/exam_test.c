// SPDX-License-Identifier: Apache-2.0
#include "exam.h"

#include "tests/rig/leaks.h"

#include <criterion/criterion.h>

TestSuite(exam, .fini = lt_rig_leaks);

Test(exam, what_is_said_is_kept_in_order) {
    struct lt_arena arena;
    struct lt_exam e;
    char route[] = "/cart", remedy[] = "write it";
    lt_arena_init(&arena, 1 << 16);
    lt_exam_init(&e, &arena);
    e.module = "m";
    lt_exam_note(&e, "%d seen", 3);
    lt_exam_found(
        &e, &(struct lt_found){.breaks = LT_REQ_FILES, .remedy = remedy, .route = route, .example = "pdf", .count = 7},
        "kept on disk");
    lt_exam_finding(&e, "see the log", "odd");
    lt_exam_kept(&e, LT_REQ_JOBS, "none seen");
    lt_exam_unsure(&e, LT_REQ_HEALTH, "ask", "nobody asked");
    lt_exam_number(&e, "group", "name", 9);
    memset(route, 'x', sizeof route - 1); // the texts are its own by now
    memset(remedy, 'x', sizeof remedy - 1);
    static const enum lt_exam_kind kinds[] = {LT_EXAM_NOTE, LT_EXAM_FINDING, LT_EXAM_FINDING,
                                              LT_EXAM_KEPT, LT_EXAM_UNSURE,  LT_EXAM_NUMBER};
    const struct lt_exam_entry *said[6] = {NULL}, *entry = e.first;
    for (unsigned i = 0; i < 6; i++, entry = entry->next) {
        cr_assert_not_null(entry);
        cr_assert_eq(entry->kind, kinds[i]);
        cr_assert_str_eq(entry->module, "m");
        said[i] = entry;
    }
    cr_assert_null(entry);
    cr_assert_eq(e.findings, 2);
    cr_assert_not(e.full);
    cr_assert_str_eq(said[0]->text, "3 seen");
    cr_assert_str_eq(said[1]->found.route, "/cart");
    cr_assert_str_eq(said[1]->found.remedy, "write it");
    cr_assert_str_eq(said[1]->found.example, "pdf");
    cr_assert_eq(said[1]->found.count, 7);
    cr_assert_eq(said[1]->found.breaks, LT_REQ_FILES);
    cr_assert_null(said[2]->found.route);
    cr_assert_eq(said[2]->found.breaks, LT_REQ_NONE);
    cr_assert_eq(said[3]->found.breaks, LT_REQ_JOBS);
    cr_assert_str_eq(said[4]->found.remedy, "ask");
    cr_assert_eq(said[5]->value, 9);
    lt_arena_fini(&arena);
}

Test(exam, full) {
    struct lt_arena arena;
    struct lt_exam e;
    lt_arena_init(&arena, 600);
    lt_exam_init(&e, &arena);
    for (int i = 0; i < 8; i++)
        lt_exam_finding(&e, "mend it", "something long enough to fill the arena at last, and a little more");
    cr_assert(e.full);
    cr_assert_eq(e.findings, 8, "the count is right all the same");
    lt_arena_fini(&arena);
}
