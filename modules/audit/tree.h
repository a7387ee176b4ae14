// SPDX-License-Identifier: Apache-2.0
// Sees by inotify what is written below one directory, with all directories in it, also those that are made later.
#pragma once

#include "net/loop.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { TREE_RECENT = 64 };

struct tree_dir {
    int wd, parent; // parent: its watch; -1: this is the root
    char *name;     // within the parent; NULL: gone
    bool scanned;   // its directories are watched, too
    bool fresh;     // it came while we watched: what lies in it was written just now
};

struct tree_ops {
    // Is nothing below this directory of interest? `path` is relative to the root ("a/b"), `fd` open on it.
    bool (*skip)(void *user, const char *path, int fd);
    // A file was written, or came in. `path` is relative to the root.
    void (*written)(void *user, const char *path);
    // May a file of this name be written? A renamed file was seen under its old name, unless that was allowed.
    bool (*allowed)(void *user, const char *path);
};

struct tree {
    struct lt_loop *loop;
    const struct tree_ops *ops;
    void *user;
    int root; // borrowed
    int fd;   // inotify; -1: not watching
    struct event event;
    struct lt_timer step;
    struct tree_dir *dirs; // by rising wd: the kernel counts them up
    unsigned n, cap, live, max;
    unsigned next; // the first that may not have been scanned
    // for the report
    unsigned skipped; // directories beyond `max`, or that the kernel did not take
    unsigned overflows;
    int64_t drained; // wall clock ms: all that is read later happened later
    // private
    struct {
        int wd;
        unsigned hash;
    } open[TREE_RECENT]; // told of once: written to and not closed yet, or in a directory that was to be scanned
    unsigned next_open;
    unsigned moved_cookie;
    bool moved_counts; // it was not allowed where it came from
};

// `root`: a descriptor of the directory, which stays open as long. False: the kernel has no inotify for us (errno).
bool tree_init(struct tree *t, struct lt_loop *loop, int root, unsigned max, const struct tree_ops *ops, void *user);
void tree_fini(struct tree *t);

// All directories that there were are watched.
bool tree_is_complete(const struct tree *t);

// Opens `path` below `root` without following a link in any part of it: an application may put links there. -1: errno.
int tree_open(int root, const char *path, int flags);
