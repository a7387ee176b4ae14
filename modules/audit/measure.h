// SPDX-License-Identifier: Apache-2.0
// Adds up what the files below a directory take, a little at a time, on the directory's own file system.
#pragma once

#include "net/loop.h"

#include <dirent.h>
#include <limits.h>
#include <stdbool.h>
#include <sys/stat.h>

enum { MEASURE_DEPTH = 32 };

struct measure {
    struct lt_loop *loop;
    void (*done)(struct measure *m); // once for each measure_begin(); may begin the next
    struct lt_timer step;
    int root; // borrowed; -1: not measuring
    dev_t dev;
    unsigned depth;
    struct {
        DIR *dir;
        unsigned name; // where its name begins in `path`
    } stack[MEASURE_DEPTH];
    char path[PATH_MAX]; // of the innermost directory, relative to the root
    int64_t since;       // wall clock ms: files written later are new
    // the result
    uint64_t bytes, files;
    uint64_t new_bytes; // of the largest new file
    char new_path[256]; // its path relative to the root; empty: none
    bool cut;           // too deep, or too many: not all was added up
};

void measure_init(struct measure *m, struct lt_loop *loop, void (*done)(struct measure *m));
void measure_fini(struct measure *m);
// `root`: open on the directory until it is done.
void measure_begin(struct measure *m, int root, int64_t since);
