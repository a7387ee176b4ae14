// SPDX-License-Identifier: Apache-2.0
// Watches audit.paths: once in the process, on the admin listener's thread, or on one worker's where there is no such listener.
#pragma once

#include "modules/audit/root.h"
#include "module.h"

struct watcher {
    struct lt_list node; // of this thread's: the newest configuration's comes first, and it alone reports
    const struct lt_services *services;
    const struct audit_conf *conf;
    struct lt_timer tick;
    unsigned ticks, n;
    bool has_files; // files.dir is carried: what is in it is no finding
    dev_t files_dev;
    ino_t files_ino;
    struct root roots[AUDIT_PATHS];
};

// At the start of a worker and at a reload. False: no memory. *w NULL: it is another thread's.
bool watcher_new(struct watcher **w, const struct audit_conf *conf, const struct lt_services *services);
void watcher_free(struct watcher *w);

// A reload makes a new one while the old one's exchanges still run: only the newest reports.
bool watcher_reports(const struct watcher *w);

// Is this directory the one of the session files that lethe carries?
bool watcher_is_files_dir(const struct watcher *w, int fd);

// From the admin thread, where it runs.
void watcher_examine(struct lt_exam *e);
