// SPDX-License-Identifier: Apache-2.0
// What the files of this module share.
//
//   files.c         options, start
//   carry.c         one exchange: the session's files are placed before the request and taken after it
//   late.c          what the application writes behind its answer
//   session_file.c  one file        profile.c  whose, and under which names        watch.c  that something has changed
#pragma once

#include "modules/files/session_file.h"
#include "modules/files/watch.h"
#include "module.h"

enum { FILES_SET_MAX = 8 };

struct files_conf {
    int profile, barrier, id;
    struct lt_span dir, owner, cookie;
    struct lt_option_list patterns;
    int64_t max_size, wait, settle, linger;
};

enum files_metric {
    M_WRITTEN,
    M_SAME,
    M_TAKEN,
    M_REMOVED,
    M_RECOVERED,
    M_LATE,
    M_BUSY,
    M_REFUSED,
    M_UNSETTLED,
    M_ABSENT,
    M_CHANGED,
    M_COUNT
};

struct files_worker {
    const struct lt_services *services;
    const struct files_conf *conf;
    struct files_dir dir;
    unsigned depth;
    struct lt_span cookie;
    enum files_id id;
    const char *patterns[FILES_PATTERNS];
    bool always, holds;
    struct watch watch;
    struct lt_list late; // struct late_file, the oldest first
    unsigned n_late;
    struct lt_timer late_timer;
};

// A file that was written before the request.
struct placed {
    const char *name; // in the arena
    struct file_mark mark;
};

// One exchange.
struct files_call {
    struct lt_call *call;
    struct placed placed[FILES_SET_MAX];
    unsigned n_placed;
    bool absent;        // the session has an id, but no content for it
    bool previous_done; // of a rotation
    int64_t give_up;    // mono ms: the end of patience with the application's lock
    int64_t settle;     // mono ms: until when a write that must come is waited for
    // waiting
    struct watch_entry watched;
    struct lt_timer timer;
};

lt_hook_fn files_on_request, files_on_response, files_on_end;
void files_on_done(struct lt_call *c);
void files_examine(struct lt_exam *e);

// late.c: from now on, for files.linger, a change of this file is brought into the session. The session's exchange must be at its end.
void late_watch(struct files_worker *w, const struct lt_session *s, const char *name, const struct file_mark *mark,
                struct lt_span path);
// A request works on this file again.
void late_forget(struct files_worker *w, const char *name);
void late_init(struct files_worker *w);
void late_fini(struct files_worker *w);

// Whom session files belong to, by the option: "uid", "uid:gid", "user" or "user:group"; empty: to whom the directory does. False: it names
// nobody.
bool files_owner(struct files_dir *dir, const struct files_conf *conf, const struct stat *st);

// The content's name in a record: "files:" and the file's name.
enum { FILES_CONTENT_MAX = FILES_NAME_MAX + 8 };
struct lt_span files_content_name(const char *file, char out[FILES_CONTENT_MAX]);
