// SPDX-License-Identifier: Apache-2.0
// Two readings side by side, and the written list of where they may differ.
#pragma once

#include "tests/agreement/reading.h"

enum outcome {
    SAME,      // both accept and read the same, both refuse, or lethe has not seen a whole line yet
    STRICTER,  // llhttp accepts, lethe refuses
    LOOSER,    // lethe accepts, llhttp refuses
    DIFFERENT, // both accept, and read differently
    OUTCOMES,
};

// *what, with DIFFERENT: in what they differ ("method", "end", …).
enum outcome compare(const struct reading *lethe, const struct reading *llhttp, const char **what);

// A deliberate difference: one row of differences.c.
struct difference {
    const char *name;
    enum outcome outcome;
    enum lt_h1_reason reason; // STRICTER: lethe's, or LT_H1_REASONS for any
    const char *says;         // LOOSER: how llhttp's reason begins; DIFFERENT: in what they differ
    bool (*applies)(const struct message *m, const struct reading *lethe, const struct reading *llhttp);
    const char *why; // with the section that allows it
};

extern const struct difference differences[];
extern const unsigned differences_n;

// The row that explains it, or differences_n.
unsigned explain(enum outcome outcome, const char *what, const struct message *m, const struct reading *lethe,
                 const struct reading *llhttp);

// Is it one of the methods that llhttp has a name for?
bool llhttp_knows(struct lt_span method);
