// SPDX-License-Identifier: Apache-2.0
// The other half of the promise: what lethe lets through, it writes so that there is one way to read it.
#pragma once

#include "tests/agreement/compare.h"

// Appends to `out` what lethe sends on. `m` is one that it reads WHOLE.
void rewrite_by_lethe(const struct message *m, struct lt_buf *out);

// NULL, or where llhttp's reading of the `size` bytes written anew is not lethe's of the original, or lethe's of the same bytes (`anew`).
const char *rewritten_differs(const struct reading *original, const struct reading *anew, const struct reading *llhttp,
                              size_t size);
