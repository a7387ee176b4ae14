// SPDX-License-Identifier: Apache-2.0
// One session's file, under the lock that the application itself uses: flock on the same inode. Nothing here waits: FILE_BUSY
// says that the application holds the lock, and the caller tries again.
#pragma once

#include "base/buf.h"

#include <sys/types.h>

struct files_dir {
    int fd;      // O_DIRECTORY
    uid_t owner; // whom files belong to: the application reads no other's
    gid_t group;
};

enum file_result {
    FILE_OK,
    FILE_SAME,    // put: it held these bytes already
    FILE_MISSING, // get: there is none
    FILE_BUSY,
    FILE_LARGE,  // get: over the maximum of `out`
    FILE_FAILED, // errno says why
};

// Makes `name` hold exactly `bytes`, in place, so that the application never sees another inode. Its time is renewed in any case: a
// cleaner must not take a session that is in use.
enum file_result file_put(const struct files_dir *dir, const char *name, struct lt_span bytes);

// Removes it. FILE_OK as well when there is none.
enum file_result file_remove(const struct files_dir *dir, const char *name);

// Appends what the application has written, complete: the lock is the barrier.
enum file_result file_get(const struct files_dir *dir, const char *name, struct lt_buf *out);
