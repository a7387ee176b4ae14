// SPDX-License-Identifier: Apache-2.0
// One entry of audit.paths: a directory that is watched for writes and measured, as long as it is there.
#pragma once

#include "modules/audit/conf.h"
#include "modules/audit/measure.h"
#include "modules/audit/mount.h"
#include "modules/audit/tree.h"

struct watcher;

enum root_by { ROOT_CLOSED, ROOT_INOTIFY, ROOT_FANOTIFY };

struct root {
    struct watcher *watcher;
    char path[PATH_MAX]; // as it is shown and matched: the application's own for "pid:"; no slash at its end
    char real[PATH_MAX]; // as the kernel names what lies in it
    bool of_app;         // "pid:"
    int pid, process;    // of_app: and a descriptor of /proc/PID; -1
    int fd;              // -1: not open
    dev_t dev;
    enum root_by by;
    bool refused;       // fanotify was wanted and not allowed
    bool clock_is_ours; // its file system takes the time of files from this kernel
    const char *why;    // closed: why
    struct tree tree;
    struct mount mount;
    // growth
    struct measure measure;
    struct lt_timer again;
    bool has_base;
    uint64_t base, size, steps; // at first, now; how often it has grown by audit.max_growth
    int64_t since;              // wall clock ms of the first measurement
};

// The loop does not turn yet; the first root_look() opens it.
void root_init(struct root *r, struct watcher *w, struct lt_span text);
void root_fini(struct root *r);

// Opens it if it can be; closes it when its process has ended. `search`: now is a time to look through /proc.
void root_look(struct root *r, bool search);
