// SPDX-License-Identifier: Apache-2.0
// The process: its workers, its signals, its configuration over time.
#pragma once

#include "worker.h"

// Runs with this configuration until SIGTERM or SIGINT has been obeyed. `reload` loads the configuration anew (SIGHUP):
// NULL says that it was bad (and has been reported). Takes over the reference to `s`. Returns the exit code.
int lt_process_run(struct lt_snapshot *s, struct lt_snapshot *(*reload)(void));

// A client connection more or less in the whole process. Returns how many there are now. Any worker.
unsigned lt_process_connections(int delta);

// The workers of the main listeners, for the scrape; and those of all other listeners. Any thread while the process runs.
struct lt_worker *lt_process_workers(unsigned *n);
struct lt_worker *lt_process_sides(unsigned *n);

// A worker's loop has ended (its thread says so last).
void lt_process_worker_ended(void);
