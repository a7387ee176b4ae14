// SPDX-License-Identifier: Apache-2.0
// What lethe must know of a runtime that keeps sessions in files: their names, and when what stands in them is complete.
#pragma once

#include "config/option.h"

enum { FILES_NAME_MAX = 400, FILES_ID_MAX = 256, FILES_PATTERNS = 4 };

// When the application is done with a session's file.
enum files_barrier {
    BARRIER_FLOCK, // it holds flock on the file while it works on the session (PHP): the lock on the same inode tells exactly
    BARRIER_LOCK,   // it holds flock on a file of its own beside it (CherryPy)
    BARRIER_RENAME, // it writes another file and renames it: what has the name is complete
    BARRIER_CLOSE,  // it writes in place without a lock: complete when nobody has the file open for writing
};

// How the id stands in the cookie.
enum files_id {
    ID_PLAIN,  // percent-encoded at the most
    ID_SIGNED, // "s:<id>.<signature>" (express, connect)
};

struct files_profile {
    const char *name;   // as the option files.profile has it
    const char *cookie; // the session cookie's default name
    enum files_id id;
    // The session's files, below files.dir: "{id}" is the id, "{2}" its first two characters.
    const char *patterns[FILES_PATTERNS];
    enum files_barrier barrier;
    const char *lock; // BARRIER_LOCK: behind the file's name
    bool holds;  // it holds its lock from the session's beginning to its end: once that is free, the session is closed
    bool always; // it writes after every request that has the session: the answer waits for that
};

// "", the names of all profiles, "custom", NULL: the choices of files.profile. A choice's index is that of files_profile_of().
extern const char *const files_profile_names[];

// NULL for "" (none). "custom" has no patterns of its own.
const struct files_profile *files_profile_of(int choice);

// The id in a cookie's value, decoded. False: nothing that could be a name: empty, over the limit, with "/" or a leading ".", or
// another character than [A-Za-z0-9,._~=+-].
bool files_id(enum files_id kind, struct lt_span value, char id[FILES_ID_MAX], size_t *n);

// The file's name, relative to files.dir, below `depth` directories of one character each (PHP's save_path "N;/dir"). False: too long,
// or the id is too short.
bool files_name(const char *pattern, struct lt_span id, unsigned depth, char out[FILES_NAME_MAX]);

// For the option's row: NULL, or what to write instead.
const char *files_pattern_check(struct lt_span pattern);
