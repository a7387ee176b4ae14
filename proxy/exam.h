// SPDX-License-Identifier: Apache-2.0
// What a module says about the running process: `lethe doctor`, /report and the admin page all print the same findings and verdicts.
// Modules get this by module.h.
#pragma once

#include "base/arena.h"
#include "base/metric.h"
#include "config/config.h"

// The requirements of "stateless services", in the order in which docs/admin.md explains them.
enum lt_requirement {
    LT_REQ_NONE,    // none of them: something else
    LT_REQ_MEMORY,  // no session only in one instance's memory or disk
    LT_REQ_STICKY,  // no sticky sessions
    LT_REQ_STORE,   // sessions in a store with an end, in a JWT or an encrypted cookie
    LT_REQ_FILES,   // no files kept on the container's disk
    LT_REQ_JOBS,    // no job queue in memory
    LT_REQ_HEALTH,  // health checks look at the process itself
    LT_REQ_ORDER,   // no order of starting
    LT_REQ_SCALING, // replicas can be added and taken away
    LT_REQUIREMENTS,
};

// Something that is wrong. Nothing secret in any text: no token, no cookie's or field's value, no query string. Texts are copied.
struct lt_found {
    enum lt_requirement breaks; // LT_REQ_NONE: none of them
    const char *remedy;         // what to set or to do, as an order: "write …"
    const char *route;          // where: "/cart"; NULL: everywhere, or not known
    const char *example;        // what one recognises it by: a cookie's name, a file's suffix; NULL: nothing
    uint64_t count;             // how often it was seen; 0: a state, nothing that is counted
    bool urgent;                // users feel it at this moment
};

// One thing that was said, in the arena of the examination.
struct lt_exam_entry {
    struct lt_exam_entry *next;
    enum lt_exam_kind {
        LT_EXAM_MODULE, // text: what the module is for, or that it is not in use
        LT_EXAM_NOTE,
        LT_EXAM_FINDING,
        LT_EXAM_KEPT,
        LT_EXAM_UNSURE,
        LT_EXAM_NUMBER, // group, name, value
        LT_EXAM_TEXT,   // group, name, text
        LT_EXAM_TIMES,  // group, name, slots
    } kind;
    const char *module, *text;
    struct lt_found found; // FINDING; `breaks` and `remedy` also of KEPT and UNSURE
    const char *group, *name;
    uint64_t value;
    uint64_t *slots; // as lt_metrics_times() gives them
};

// A running examination, as a module's `examine` gets it.
struct lt_exam {
    const void *conf;
    const struct lt_config *config;
    const char *module;            // who speaks
    bool used;                     // on the main listeners
    bool carriers;                 // a module of phase CARRIER is in use
    uint64_t requests;             // that came to the main listeners since the start
    struct lt_metrics *const *all; // for lt_exam_total()
    unsigned n_all;
    struct lt_arena *arena;
    struct lt_exam_entry *first, **end;
    unsigned findings; // so far, of all modules
    bool full;         // the arena did not take all
};

// An empty examination whose entries live in `arena`.
void lt_exam_init(struct lt_exam *e, struct lt_arena *arena);

// What a module is for, before it is asked.
void lt_exam_header(struct lt_exam *e, const char *text);

// A counter's value over all workers.
uint64_t lt_exam_total(const struct lt_exam *e, unsigned row);

// How something is, in one line.
void lt_exam_note(struct lt_exam *e, const char *format, ...) __attribute__((format(printf, 2, 3)));

// What is wrong; the text tells what was seen, `what` all else.
void lt_exam_found(struct lt_exam *e, const struct lt_found *what, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
// The same where nothing but the remedy is known.
void lt_exam_finding(struct lt_exam *e, const char *remedy, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

// The module watches requirement `r`: it is kept as far as can be seen, and the text is the evidence. A finding that breaks it outweighs.
void lt_exam_kept(struct lt_exam *e, enum lt_requirement r, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
// It cannot be told: the text says why, `remedy` what would tell it.
void lt_exam_unsure(struct lt_exam *e, enum lt_requirement r, const char *remedy, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

// Figures of the report. A group is a member of its JSON ("sessions", "store"), or the list "stripped"; `group` is a literal.
void lt_exam_number(struct lt_exam *e, const char *group, const char *name, uint64_t value);
void lt_exam_text(struct lt_exam *e, const char *group, const char *name, const char *text);
void lt_exam_times(struct lt_exam *e, const char *group, const char *name, unsigned histogram_row);
