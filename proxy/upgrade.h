// SPDX-License-Identifier: Apache-2.0
// Replaces the running program by the one that stands at its path now: starts it with the same arguments and all listening sockets, and
// waits until it says that it accepts. Until then, and if it never does, nothing changes here. Only the main thread calls it.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

// At the start, before anything is opened: remembers the path and the arguments.
void lt_upgrade_init(char **argv);

// A listening socket that the next process gets, under this name (see inherit.h; copied). It stays the caller's. False: no memory.
bool lt_upgrade_offer(int fd, const char *name);

void lt_upgrade_fini(void);

// Starts it. -1: `why` says why not; else a descriptor that becomes readable when lt_upgrade_result() knows more.
int lt_upgrade_begin(char *why, size_t size);

enum lt_upgrade_result { LT_UPGRADE_WAITS, LT_UPGRADE_READY, LT_UPGRADE_FAILED };
// `late`: the new process has had its time and is ended. READY: `pid` accepts on all of the sockets. FAILED: `why` says why, and it is gone.
enum lt_upgrade_result lt_upgrade_result(bool late, pid_t *pid, char *why, size_t size);
