// SPDX-License-Identifier: Apache-2.0
// What the commands (doctor, probe, reload, drain, quit, upgrade) ask the admin listener of a running lethe.
#pragma once

#include "base/buf.h"

struct lt_admin_answer {
    unsigned status; // as in HTTP
    struct lt_span head, body;
};

// Sends `request` ("GET /doctor") to the listener at `address` and awaits the whole answer, within `limit` ms for all of it: who
// trickles an answer is no better than who is silent. NULL: `answer` points into `buf`, which the caller has made and frees.
// Otherwise why there is none, for lt_admin_no_answer().
const char *lt_admin_ask(struct lt_span address, const char *request, int64_t limit, struct lt_buf *buf,
                         struct lt_admin_answer *answer) __attribute__((warn_unused_result));

// Tells the user of `command` on standard error, with what to write instead.
void lt_admin_no_answer(const char *command, struct lt_span address, const char *why);
