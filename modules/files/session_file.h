// SPDX-License-Identifier: Apache-2.0
// One file of a session, with the care that a directory written by somebody else needs: nothing outside the directory is ever opened, no
// symbolic link followed, no other user's file used. Nothing here waits: FILE_BUSY says that the application is at work on the
// file, and the caller tries again.
#pragma once

#include "base/buf.h"
#include "modules/files/profile.h"

#include <stdint.h>
#include <sys/stat.h>

struct files_dir {
    int fd;      // O_DIRECTORY
    uid_t owner; // whom files belong to: the application reads no other's
    gid_t group;
    enum files_barrier barrier;
    const char *lock; // BARRIER_LOCK: behind the file's name
};

enum file_result {
    FILE_OK,
    FILE_SAME,    // place: it held these bytes already
    FILE_NEWER,   // place: the application has written it since it was placed last, under the fence before this one
    FILE_MISSING, // take: there is none
    FILE_BUSY,
    FILE_LARGE,   // take: over the maximum of `out`
    FILE_REFUSED, // a link, another user's, no regular file, more than one name: `why` says which
    FILE_FAILED,  // errno says why
};

// Which file, in which state: to see whether the application has written since.
struct file_mark {
    ino_t inode;
    off_t size;
    struct timespec written;
};

// Makes `name` hold exactly `bytes`, and marks it with `fence`: the number of the lock under which this is done. Where the application locks the
// file itself, it is written in place, so that nobody ever sees another inode; else by a rename. Its time is renewed in any case: a
// cleaner must not take a session that is in use. FILE_NEWER: `found` holds what the application has left there (after a crash of
// ours between its write and the commit); the file stays as it is.
enum file_result file_place(const struct files_dir *dir, const char *name, struct lt_span bytes, uint64_t fence,
                            struct lt_buf *found, struct file_mark *mark, const char **why);

// Removes it. FILE_OK as well when there is none.
enum file_result file_remove(const struct files_dir *dir, const char *name, const char **why);

// Appends what the application has written, complete.
enum file_result file_take(const struct files_dir *dir, const char *name, struct lt_buf *out, struct file_mark *mark,
                           const char **why);

// The file's mark as it is now. False: there is none.
bool file_look(const struct files_dir *dir, const char *name, struct file_mark *mark);

// What stands in the file is not to be believed (the application died in the middle): the next file_place() writes over it.
void file_disown(const struct files_dir *dir, const char *name);

// The fence that the file is marked with; 0: none, or the file system keeps no attributes.
uint64_t file_fence(const struct files_dir *dir, const char *name);

static inline bool file_mark_eq(const struct file_mark *a, const struct file_mark *b) {
    return a->inode == b->inode && a->size == b->size && a->written.tv_sec == b->written.tv_sec &&
           a->written.tv_nsec == b->written.tv_nsec;
}
