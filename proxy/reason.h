// SPDX-License-Identifier: Apache-2.0
// The reasons for which a request fails (X-Lethe-Error, the access log's `reason`), in words: docs/operating.md has the same.
#pragma once

struct lt_reason {
    const char *name;
    const char *says; // "the application does not accept a connection"
    const char *advice;
};

// NULL: one that has no words of its own.
const struct lt_reason *lt_reason_find(const char *name);
