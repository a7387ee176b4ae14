// SPDX-License-Identifier: Apache-2.0
// Sees by fanotify what is written through one mount. One mark covers it whole, and each event names the process; the kernel asks for
// CAP_SYS_ADMIN. Renames and mounts below it are not seen.
#pragma once

#include "net/loop.h"

#include <stdbool.h>
#include <stdint.h>

struct mount {
    int fd; // fanotify; -1: not watching
    struct event event;
    // A regular file was written to, by another process; `fd` is open on it. One file's writes up to its close are told once.
    void (*written)(void *user, int fd);
    void *user;
    unsigned overflows;
    int64_t drained; // wall clock ms: all that is read later happened later
    struct {
        unsigned long long dev, ino;
    } open[64]; // written to and not closed yet
    unsigned next_open;
};

// `dir`: a descriptor of a directory in the mount. False: not allowed here (errno).
bool mount_init(struct mount *m, struct lt_loop *loop, int dir, void (*written)(void *user, int fd), void *user);
void mount_fini(struct mount *m);
