// SPDX-License-Identifier: Apache-2.0
// The files module's part of `lethe doctor`.
#include "modules/files/state.h"

#include <dirent.h>
#include <fcntl.h>
#include <unistd.h>

enum { LOOK_AT = 1000 };

// Is there a file in the directory that belongs neither to `owner` nor to us? Whose it is.
static bool foreign_file(const char *path, uid_t owner, uid_t *whose) {
    DIR *d = opendir(path);
    bool found = false;
    struct dirent *entry;
    for (unsigned i = 0; d && !found && i < LOOK_AT && (entry = readdir(d)); i++) {
        struct stat st;
        found = fstatat(dirfd(d), entry->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISREG(st.st_mode) &&
                st.st_uid != owner && st.st_uid != geteuid() && st.st_uid != 0;
        *whose = found ? st.st_uid : 0;
    }
    if (d)
        closedir(d);
    return found;
}

static void find(struct lt_exam *e, enum lt_requirement breaks, uint64_t count, const char *remedy, const char *what) {
    lt_exam_found(e, &(struct lt_found){.breaks = breaks, .count = count, .remedy = remedy}, "%s", what);
}

static void look_at_directory(struct lt_exam *e, const char *path) {
    struct files_dir dir = {.fd = -1};
    struct stat st;
    uid_t whose;
    if (stat(path, &st) != 0 || !files_owner(&dir, e->conf, &st)) {
        find(e, LT_REQ_MEMORY, 0, "write the directory that the application's own configuration names",
             "files.dir cannot be looked at");
        return;
    }
    if (foreign_file(path, dir.owner, &whose))
        lt_exam_found(e,
                      &(struct lt_found){.breaks = LT_REQ_MEMORY,
                                         .remedy = "write files.owner as the user that the application runs as"},
                      "session files in files.dir belong to uid %u, lethe makes them for uid %u", (unsigned)whose,
                      (unsigned)dir.owner);
}

void files_examine(struct lt_exam *e) {
    const struct files_conf *conf = e->conf;
    if (!e->used)
        return;
    unsigned long long taken = lt_exam_total(e, M_TAKEN), absent = lt_exam_total(e, M_ABSENT);
    unsigned long long refused = lt_exam_total(e, M_REFUSED), unsettled = lt_exam_total(e, M_UNSETTLED);
    unsigned long long busy = lt_exam_total(e, M_BUSY);
    const char *semicolon = strrchr(conf->dir.p, ';');
    lt_exam_note(
        e,
        "profile %s: %llu files written before requests, %llu as they were, %llu taken after them, %llu behind answers",
        files_profile_names[conf->profile], (unsigned long long)lt_exam_total(e, M_WRITTEN),
        (unsigned long long)lt_exam_total(e, M_SAME), taken, (unsigned long long)lt_exam_total(e, M_LATE));
    bool elsewhere = absent && lt_exam_total(e, M_CHANGED) == 0; // what was taken is what lethe had put there
    if (elsewhere)
        find(e, LT_REQ_MEMORY, absent,
             "share files.dir with the application beside this lethe: the directory that its configuration names, and "
             "the "
             "profile of its framework",
             "requests had a session, but the application never left a file for it here");
    if (refused)
        find(e, LT_REQ_MEMORY, refused, "see the log event session_file_refused: it says which and why",
             "files were refused: links, foreign owners, no regular files");
    if (unsettled)
        find(
            e, LT_REQ_MEMORY, unsettled,
            "put PersistentManager and PersistentValve into the context that serves these paths: docs/stacks/tomcat.md",
            "requests with a session ended without the write that should follow each");
    if (busy)
        find(e, LT_REQ_NONE, busy, "find out what the application does while it holds its session, or raise files.wait",
             "requests failed because the application held its session too long");
    if (taken && !elsewhere)
        lt_exam_kept(e, LT_REQ_MEMORY, "session files are carried: %llu were taken into the store after requests", taken);
    else if (!taken)
        lt_exam_unsure(e, LT_REQ_MEMORY,
                       "log in once and look again; if you did, the application calls its cookie otherwise: write the "
                       "name into session.cookies and files.cookie",
                       "no session file has been carried yet");
    look_at_directory(e, semicolon ? semicolon + 1 : conf->dir.p);
}
