// SPDX-License-Identifier: Apache-2.0
// What the process knows about itself: asked of all modules, and judged. `lethe doctor` prints it in words, the admin listener as JSON.
#pragma once

#include "module.h"

struct lt_report {
    struct lt_arena arena;
    struct lt_exam exam;
    struct lt_process_view process;
    struct lt_judgement {
        enum lt_verdict_on { LT_KEPT, LT_UNKNOWN, LT_BROKEN } verdict;
        const char *evidence, *remedy; // in the arena, or literals; the remedy of one that is kept is ""
    } requirements[LT_REQUIREMENTS];   // by enum lt_requirement; [0] is not used
    enum lt_condition { LT_WELL, LT_ATTENTION, LT_FAILING, LT_DRAINING } condition;
    const char *says, *advice; // the condition in one sentence, and what to do first
};

// Asks all modules. From the admin thread. False: no memory. In any case lt_report_fini().
bool lt_report_make(struct lt_report *r) __attribute__((warn_unused_result));
void lt_report_fini(struct lt_report *r);

// "memory", "sticky", …; what it demands; "kept", "unknown" or "broken"; "well", "attention", …
const char *lt_requirement_id(enum lt_requirement r);
const char *lt_requirement_title(enum lt_requirement r);
const char *lt_verdict_name(enum lt_verdict_on v);
const char *lt_condition_name(enum lt_condition c);

// The members of the JSON, in this order; docs/admin.md has what each holds.
enum lt_report_member {
    LT_REPORT_LETHE,
    LT_REPORT_STATUS,
    LT_REPORT_REQUIREMENTS,
    LT_REPORT_FINDINGS,
    LT_REPORT_NOTES,
    LT_REPORT_TRAFFIC,
    LT_REPORT_LATENCY,
    LT_REPORT_SESSIONS,
    LT_REPORT_STORE,
    LT_REPORT_STRIPPED,
    LT_REPORT_LOST,
    LT_REPORT_PROBES,
    LT_REPORT_ERRORS,
    LT_REPORT_MEMBERS,
};
extern const char *const lt_report_names[LT_REPORT_MEMBERS];

// Appends one member's value. False: `out` is full.
bool lt_report_print(const struct lt_report *r, enum lt_report_member m, struct lt_buf *out)
    __attribute__((warn_unused_result));
