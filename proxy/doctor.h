// SPDX-License-Identifier: Apache-2.0
// `lethe doctor`: what is carried, what is not, and what to set, in plain words. The running process writes the report (GET /doctor on
// the admin listener); the command fetches and prints it.
#pragma once

#include "module.h"

// The report of the process. `findings`: how many things are wrong. False: no memory.
bool lt_doctor_report(struct lt_buf *out, unsigned *findings);

// The command: asks the admin listener at `address`, prints the report. Returns the exit code: 0 nothing wrong, 1 findings, 2 nobody
// answers there.
int lt_doctor_ask(struct lt_span address);
