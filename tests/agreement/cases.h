// SPDX-License-Identifier: Apache-2.0
// The messages that are tried: written by hand, from the fuzz targets' corpora, and mutations of both.
#pragma once

#include "tests/agreement/reading.h"

struct written {
    struct message message;
    enum lt_h1_reason reason; // lethe's verdict; LT_H1_OK: it is accepted
};

extern const struct written cases[];
extern const unsigned cases_n;

// The n-th mutation of a run with this seed: one of the `bases`, changed in one to four places. Its text is valid until the next call.
struct message mutate(unsigned long long *seed, const struct message *bases, unsigned n);
