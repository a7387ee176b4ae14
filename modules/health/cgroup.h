// SPDX-License-Identifier: Apache-2.0
// How much of its control group's memory and CPU this process's group uses: cgroup v2, v1, and PSI where there is.
#pragma once

#include <stdbool.h>
#include <stdint.h>

enum { CGROUP_PATH = 512 };

// Where the files lie, found once.
struct cgroup {
    char memory[CGROUP_PATH], cpu[CGROUP_PATH]; // directories; "" none
    char pressure[CGROUP_PATH];                 // prefix of "memory.pressure" or of "/proc/pressure/memory"; "" none
    bool v2, pressure_v2;
    int64_t cpu_usage, cpu_at; // usage in microseconds at the last look, and when (mono ms); 0: none yet
    int cpu_percent;           // what that look found; -1: nothing yet
};

// `root`: what the paths begin with, "" but in tests.
void cgroup_find(struct cgroup *c, const char *root);

// Each in percent; -1: there is no limit, or it cannot be read (the check passes).
// Memory in use that cannot be taken back (without inactive file cache), of the limit.
int cgroup_memory(const struct cgroup *c);
// CPU time since the last call, of the quota; within 100 ms of it the same again. `now`: mono ms.
int cgroup_cpu(struct cgroup *c, int64_t now);
// PSI: the share of the last 10 s in which some task waited for memory or CPU; the larger.
int cgroup_pressure(const struct cgroup *c);
