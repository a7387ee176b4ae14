// SPDX-License-Identifier: Apache-2.0
// What `lethe doctor` says of sessions, by what has happened and when.
#include "modules/session/state.h"

#include "base/clock.h"
#include "base/lost.h"
#include "config/pattern.h"
#include "modules/session/session.h"
#include "modules/session/unnamed.h"
#include "tests/rig/leaks.h"

#include <criterion/criterion.h>

enum { MINUTE = 60000 };

static struct lt_arena arena;
static struct lt_exam e;
static struct lt_metrics metrics;

static void begin(void) {
    cr_assert(lt_metrics_init(&metrics, lt_module_session.metrics, lt_module_session.n_metrics));
    lt_arena_init(&arena, 1 << 20);
    lt_lost_reset();
    unnamed_reset();
}

static void end(void) {
    lt_clock_set(-1, -1);
    lt_metrics_fini(&metrics);
    lt_arena_fini(&arena);
    lt_rig_leaks();
}

TestSuite(examine, .init = begin, .fini = end);

static struct lt_option_list list_of(struct lt_span *name) {
    struct lt_option_list list = {.v = name, .n = name ? 1 : 0};
    lt_pattern_list_prepare(&list);
    return list;
}

// The entry of this kind that has `part` in its text; NULL: none.
static const struct lt_exam_entry *said(enum lt_exam_kind kind, const char *part, struct lt_span *named,
                                        struct lt_span *ignored) {
    static const struct lt_config config;
    static struct lt_metrics *const all[] = {&metrics};
    struct session_conf conf = {.cookies = list_of(named), .ignore_cookies = list_of(ignored)};
    lt_exam_init(&e, &arena);
    e.conf = &conf;
    e.config = &config;
    e.all = all;
    e.n_all = 1;
    session_examine(&e);
    const struct lt_exam_entry *entry = e.first;
    while (entry && !(entry->kind == kind && strstr(entry->text, part)))
        entry = entry->next;
    return entry;
}

Test(examine, an_outage_passes) {
    static const char what[] = "could not be stored";
    lt_clock_set(1000 * MINUTE, 1);
    lt_lost_add("not_committed", LT_S("/cart/add"));
    const struct lt_exam_entry *found = said(LT_EXAM_FINDING, what, NULL, NULL);
    cr_assert(found && found->found.breaks == LT_REQ_STORE && found->found.count == 1);
    lt_clock_set(1059 * MINUTE, 1);
    cr_assert(said(LT_EXAM_FINDING, what, NULL, NULL));
    lt_clock_set(1100 * MINUTE, 1);
    cr_assert(!said(LT_EXAM_FINDING, what, NULL, NULL));
    cr_assert(said(LT_EXAM_NOTE, "on /cart: 1 times, the last 1 h 40 min ago", NULL, NULL));
    lt_lost_add("not_committed", LT_S("/cart/add")); // another one
    found = said(LT_EXAM_FINDING, what, NULL, NULL);
    cr_assert(found && found->found.count == 2);
}

Test(examine, what_is_set_up_wrong_does_not) {
    lt_clock_set(1000 * MINUTE, 1);
    lt_lost_add("missing_file", LT_S("/cart"));
    lt_clock_set(9000 * MINUTE, 1);
    const struct lt_exam_entry *found = said(LT_EXAM_FINDING, "did not know a session", NULL, NULL);
    cr_assert(found && found->found.breaks == LT_REQ_MEMORY);
}

Test(examine, a_cookie_that_nobody_named) {
    struct lt_span name = LT_S("SHOP"), other = LT_S("OTHER");
    unnamed_note(name, LT_S("/login"));
    const struct lt_exam_entry *found = said(LT_EXAM_FINDING, "looks like one", &other, &other);
    cr_assert(found && found->found.breaks == LT_REQ_MEMORY && strcmp(found->found.example, "SHOP") == 0);
    cr_assert_str_eq(found->found.route, "/login");
    cr_assert(!said(LT_EXAM_FINDING, "looks like one", &name, &other), "it is named since");
    cr_assert(!said(LT_EXAM_FINDING, "looks like one", &other, &name), "it is none");
    lt_metric_add(&metrics, M_CREATED, 1); // others are carried: it may be none
    cr_assert(!said(LT_EXAM_FINDING, "looks like one", &other, &other));
    const struct lt_exam_entry *asked = said(LT_EXAM_UNSURE, "\"SHOP\"", &other, &other);
    cr_assert(asked && asked->found.breaks == LT_REQ_MEMORY && strstr(asked->text, "the last on /login"));
    cr_assert(!said(LT_EXAM_UNSURE, "\"SHOP\"", &name, &other));
}
