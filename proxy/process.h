// SPDX-License-Identifier: Apache-2.0
// The process: its workers, its signals, its configuration over time.
#pragma once

#include "control.h"
#include "worker.h"

// Loads the configuration anew. NULL: it was bad; that has been reported, and `why` says it once more.
typedef struct lt_snapshot *lt_reload_fn(char *why, size_t size);

// Runs with this configuration until a drain has ended. Takes over the reference to `s`. Returns the exit code.
int lt_process_run(struct lt_snapshot *s, lt_reload_fn *reload);

// Have all threads taken over the last configuration that was handed out? WAITS; FAILED: one of them could not (its log says why).
enum lt_answer lt_process_reloaded(void);

// A client connection more or less in the whole process. Returns how many there are now. Any worker.
unsigned lt_process_connections(int delta);

// The workers of the main listeners, for the scrape; and those of all other listeners. Any thread while the process runs.
struct lt_worker *lt_process_workers(unsigned *n);
struct lt_worker *lt_process_sides(unsigned *n);

// A worker's loop has ended (its thread says so last).
void lt_process_worker_ended(void);
