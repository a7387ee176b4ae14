// SPDX-License-Identifier: Apache-2.0
// A state carrier for sessions that an application keeps in files. This file: options and start.
#include "modules/files/files.h"

#include "config/pattern.h"
#include "modules/files/state.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { DEPTH_MAX = 16 };

static const char *const barriers[] = {"", "flock", "rename", "close", NULL};
static const enum files_barrier barrier_of[] = {BARRIER_CLOSE, BARRIER_FLOCK, BARRIER_RENAME, BARRIER_CLOSE};
static const char *const ids[] = {"plain", "signed", NULL};

static bool enabled(const void *conf) {
    return ((const struct files_conf *)conf)->profile != 0;
}

static bool is_custom(const struct files_conf *conf) {
    return strcmp(files_profile_names[conf->profile], "custom") == 0;
}

static struct lt_span cookie_of(const struct files_conf *conf) {
    return conf->cookie.n ? conf->cookie : lt_span_cstr(files_profile_of(conf->profile)->cookie);
}

// A session whose cookie the session module leaves to the client has no record to carry a file in.
static void check_cookie(const struct lt_config *config, struct lt_diag *diag) {
    const struct files_conf *conf = lt_config_group(config, "files");
    const struct lt_option_list *names = lt_config_list(config, "session.cookies");
    struct lt_span cookie = cookie_of(conf);
    if (!names || names->n == 0 || cookie.n == 0 || lt_pattern_list_matches(names, cookie))
        return;
    lt_diag_add(
        diag,
        "files.cookie: \"%.*s\"%s is not in session.cookies, so no file would be carried; write the name of the "
        "application's session cookie into both (session.cookies begins with \"%.*s\")",
        (int)cookie.n, cookie.p, conf->cookie.n ? "" : ", the profile's own,", (int)names->v[0].n, names->v[0].p);
}

static void check(const struct lt_config *config, struct lt_diag *diag) {
    const struct files_conf *conf = lt_config_group(config, "files");
    if (!enabled(conf))
        return;
    check_cookie(config, diag);
    if (conf->dir.n == 0)
        lt_diag_add(
            diag,
            "files.dir: not given, but files.profile is \"%s\"; write the directory where the application keeps its "
            "session files",
            files_profile_names[conf->profile]);
    if (conf->patterns.n && !is_custom(conf))
        lt_diag_add(diag, "files.patterns: the profile \"%s\" has its own; write files.profile = \"custom\"",
                    files_profile_names[conf->profile]);
    if (is_custom(conf) && (conf->patterns.n == 0 || conf->cookie.n == 0 || conf->barrier == 0))
        lt_diag_add(
            diag,
            "files.profile: \"custom\" needs files.patterns (\"sess_{id}\"), files.cookie (\"sid\") and files.barrier "
            "(\"flock\", \"rename\" or \"close\")");
    const char *refused = lt_store_refuses_content(config);
    if (refused)
        lt_diag_add(diag, "files.profile: %s", refused);
}

bool files_owner(struct files_dir *dir, const struct files_conf *conf, const struct stat *st) {
    char text[128], *end;
    dir->owner = st->st_uid;
    dir->group = st->st_gid;
    if (conf->owner.n == 0)
        return true;
    snprintf(text, sizeof text, "%.*s", (int)conf->owner.n, conf->owner.p);
    char *colon = strchr(text, ':');
    if (colon)
        *colon = '\0';
    struct passwd user_entry, *user = NULL;
    struct group group_entry, *group = NULL;
    char names[4096]; // the _r forms: a reload runs this in every worker
    if (getpwnam_r(text, &user_entry, names, sizeof names, &user) != 0)
        return false;
    dir->owner = user ? user->pw_uid : (uid_t)strtoul(text, &end, 10);
    if (user)
        dir->group = user->pw_gid;
    else if (end == text || *end)
        return false;
    if (colon && getgrnam_r(colon + 1, &group_entry, names, sizeof names, &group) != 0)
        return false;
    if (group)
        dir->group = group->gr_gid;
    else if (colon)
        dir->group = (gid_t)strtoul(colon + 1, &end, 10);
    return !colon || group || (colon[1] && !*end);
}

static bool refuse(const char *dir, const char *why, const char *what) {
    LT_LOG(LT_LOG_ERROR, "files.dir", lt_fs("dir", dir), lt_fs("why", why), lt_fs("do", what));
    return false;
}

static bool open_dir(struct files_worker *w, const struct files_conf *conf, const char *path) {
    struct stat st;
    char why[160];
    w->dir.fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (w->dir.fd < 0 && errno == EACCES)
        w->dir.fd = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC); // Debian's own is not readable, only writable
    if (w->dir.fd < 0 || fstat(w->dir.fd, &st) != 0)
        return refuse(path, strerror(errno), "write the directory that the application's session.save_path names");
    if (!files_owner(&w->dir, conf, &st))
        return refuse(path, "files.owner names no user here", "write \"user\", \"user:group\" or numbers");
    if (geteuid() != 0 && w->dir.owner != geteuid()) {
        snprintf(why, sizeof why, "session files must belong to uid %u, lethe runs as uid %u", (unsigned)w->dir.owner,
                 (unsigned)geteuid());
        return refuse(path, why, "run lethe as the application's user");
    }
    if (faccessat(AT_FDCWD, path, W_OK | X_OK, AT_EACCESS) != 0)
        return refuse(path, strerror(errno), "let lethe write there: run it as the application's user");
    return true;
}

// The profile, and what the options say otherwise.
static void set_profile(struct files_worker *w, const struct files_conf *conf) {
    const struct files_profile *p = files_profile_of(conf->profile);
    bool custom = is_custom(conf);
    w->cookie = cookie_of(conf);
    w->id = custom ? (enum files_id)conf->id : p->id;
    w->always = p->always;
    w->holds = p->holds;
    w->dir.barrier = custom ? barrier_of[conf->barrier] : p->barrier;
    w->dir.lock = p->lock;
    for (unsigned i = 0; i < FILES_PATTERNS; i++)
        w->patterns[i] = !custom ? p->patterns[i] : i < conf->patterns.n ? conf->patterns.v[i].p : NULL;
}

// PHP's save_path form "N;MODE;/dir": the last part is the directory, the first a depth.
static bool worker_init(void *worker, const void *conf_, const struct lt_services *services) {
    const struct files_conf *conf = conf_;
    struct files_worker *w = worker;
    w->services = services;
    w->conf = conf;
    set_profile(w, conf);
    const char *semicolon = strrchr(conf->dir.p, ';');
    unsigned long depth = semicolon ? strtoul(conf->dir.p, NULL, 10) : 0;
    if (depth > DEPTH_MAX)
        return refuse(conf->dir.p, "the depth is over 16", "write \"N;/dir\" as in session.save_path");
    w->depth = (unsigned)depth;
    if (!open_dir(w, conf, semicolon ? semicolon + 1 : conf->dir.p)) {
        if (w->dir.fd >= 0)
            close(w->dir.fd);
        return false;
    }
    watch_init(&w->watch, services->loop, w->dir.fd);
    late_init(w);
    return true;
}

static void worker_fini(void *worker) {
    struct files_worker *w = worker;
    late_fini(w);
    watch_fini(&w->watch);
    close(w->dir.fd);
}

#define AT(field) offsetof(struct files_conf, field)

// One row an option.
// clang-format off
static const struct lt_option options[] = {
    {.name = "profile",
     .type = LT_OPT_ENUM,
     .offset = AT(profile),
     .fallback = "",
     .choices = files_profile_names,
     .doc = "The runtime whose session files are carried from replica to replica; `custom` takes `files.patterns`, "
            "`files.cookie` and "
            "`files.barrier`. Empty: none."},
    {.name = "dir",
     .type = LT_OPT_STRING,
     .offset = AT(dir),
     .fallback = "",
     .unit = "path",
     .doc = "The directory where the application keeps its session files, shared with this lethe alone. For PHP the "
            "value of "
            "`session.save_path`, its form `N;/dir` included."},
    {.name = "owner",
     .type = LT_OPT_STRING,
     .offset = AT(owner),
     .fallback = "",
     .unit = "user",
     .doc = "To whom session files belong: `user`, `user:group` or numbers. PHP takes no other's. Empty: the owner of "
            "the directory."},
    {.name = "cookie",
     .type = LT_OPT_STRING,
     .offset = AT(cookie),
     .fallback = "",
     .unit = "name",
     .doc = "The session cookie whose value names the file, which session.cookies must have as well. Empty: the profile's own "
            "(`PHPSESSID`)."},
    {.name = "id",
     .type = LT_OPT_ENUM,
     .offset = AT(id),
     .fallback = "plain",
     .choices = ids,
     .doc = "Of `custom`: how the id stands in the cookie: as it is, or as `s:<id>.<signature>`."},
    {.name = "patterns",
     .type = LT_OPT_LIST,
     .offset = AT(patterns),
     .fallback = "",
     .max = FILES_PATTERNS,
     .unit = "names",
     .check = files_pattern_check,
     .doc = "Of `custom`: the session's files below `files.dir`; `{id}` is the id, `{2}` its first two characters. The "
            "first one is the session "
            "itself: an application that removes it has ended the session."},
    {.name = "barrier",
     .type = LT_OPT_ENUM,
     .offset = AT(barrier),
     .fallback = "",
     .choices = barriers,
     .doc = "Of `custom`: when the application is done with a file: it gives back its `flock`; it renames another file "
            "to this name; or it has "
            "closed it."},
    {.name = "max_size",
     .type = LT_OPT_SIZE,
     .offset = AT(max_size),
     .fallback = "4m",
     .min = 1024,
     .max = 32 << 20,
     .doc = "The largest session file; beyond it 503, and nothing is stored."},
    {.name = "wait",
     .type = LT_OPT_DURATION,
     .offset = AT(wait),
     .fallback = "30s",
     .min = 10,
     .max = 3600 * 1000,
     .doc = "How long the application may keep a session file locked, before the request or after the end of its "
            "answer; then 503."},
    {.name = "settle",
     .type = LT_OPT_DURATION,
     .offset = AT(settle),
     .fallback = "500ms",
     .min = 0,
     .max = 60 * 1000,
     .doc = "Where the application writes its session after every request (`tomcat`): how long the end of the answer "
            "waits for that."},
    {.name = "linger",
     .type = LT_OPT_DURATION,
     .offset = AT(linger),
     .fallback = "60s",
     .min = 0,
     .max = 3600 * 1000,
     .doc =
         "How long behind the end of an answer a write of its session is still brought into the store. 0: not at all."},
};
// clang-format on

#define FILES(event)                                                                                                   \
    { "lethe_session_files_total", "Session files by what was done with them.", LT_COUNTER, "event=\"" event "\"" }

static const struct lt_metric metrics[M_COUNT] = {
    [M_WRITTEN] = FILES("written"),   [M_SAME] = FILES("same"),           [M_TAKEN] = FILES("captured"),
    [M_REMOVED] = FILES("destroyed"), [M_RECOVERED] = FILES("recovered"), [M_LATE] = FILES("late"),
    [M_BUSY] = FILES("busy"),         [M_REFUSED] = FILES("refused"),     [M_UNSETTLED] = FILES("unsettled"),
    [M_ABSENT] = FILES("absent"),     [M_CHANGED] = FILES("changed"),
};

const struct lt_module lt_module_files = {
    .name = "files",
    .summary = "carries sessions kept in files to whichever replica serves",
    .phase = LT_PHASE_CARRIER,
    .options = {"files", options, sizeof options / sizeof *options, sizeof(struct files_conf), NULL},
    .metrics = metrics,
    .n_metrics = M_COUNT,
    .worker_size = sizeof(struct files_worker),
    .state_size = sizeof(struct files_call),
    .check = check,
    .enabled = enabled,
    .worker_init = worker_init,
    .worker_fini = worker_fini,
    .on_request = files_on_request,
    .on_response = files_on_response,
    .on_end = files_on_end,
    .on_done = files_on_done,
    .examine = files_examine,
};
