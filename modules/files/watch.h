// SPDX-License-Identifier: Apache-2.0
// Tells when a file of the directory was written, renamed into place or removed (inotify). Only a hint: who waits looks again by himself as
// well, since a directory that lethe may write but not read cannot be watched.
#pragma once

#include "base/list.h"
#include "modules/files/profile.h"
#include "net/loop.h"

enum { WATCH_BUCKETS = 64 };

struct watch {
    int fd; // -1: nothing is watched
    struct event event;
    struct lt_list buckets[WATCH_BUCKETS];
};

// One file that somebody waits for; embedded.
struct watch_entry {
    struct lt_list node;
    char name[FILES_NAME_MAX];              // its last part: that is what inotify tells
    void (*changed)(struct watch_entry *e); // from the loop; may remove the entry
};

// Watches the directory `fd`. Never fails: without inotify nothing is told.
void watch_init(struct watch *w, struct lt_loop *loop, int fd);
void watch_fini(struct watch *w);

// Watches the sub-directory in which the file `name` of the directory `fd` lies, if it lies in one.
void watch_parent(struct watch *w, int fd, const char *name);

// `name` as in files_name().
void watch_add(struct watch *w, struct watch_entry *e, const char *name, void (*changed)(struct watch_entry *e));
// The first entry of this name and this `changed`; NULL: there is none.
struct watch_entry *watch_find(struct watch *w, const char *name, void (*changed)(struct watch_entry *e));
// Does nothing when it was not added, if it was zeroed.
void watch_remove(struct watch_entry *e);
