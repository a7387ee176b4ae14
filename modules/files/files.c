// SPDX-License-Identifier: Apache-2.0
// A state carrier: before the request the session's file is written, afterwards what the application has made of it is captured into
// the record. The session module holds the lock meanwhile and commits.
#include "modules/files/files.h"

#include "base/clock.h"
#include "http/framing.h"
#include "modules/files/profile.h"
#include "modules/files/session_file.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

enum { RETRY_MS = 10, DEPTH_MAX = 16 };

struct files_conf {
    int profile;
    struct lt_span dir, owner, cookie;
    int64_t max_size, wait;
};

enum files_metric { M_WRITTEN, M_SAME, M_CAPTURED, M_REMOVED, M_BUSY, M_COUNT };

struct files_worker {
    const struct files_profile *profile;
    struct files_dir dir;
    unsigned depth;
    struct lt_span cookie;
};

struct files_call {
    char placed[FILES_NAME_MAX]; // the file that was written before the request; "" none
    int64_t give_up;             // mono ms: the end of patience with the application's lock
    bool previous_done;
};

static const char *const profiles[] = {"", "php", NULL};
static const struct files_profile *const by_profile[] = {NULL, &files_profile_php};

static const struct files_conf *conf_of(const struct lt_call *c) {
    return c->conf;
}

// The file of the session that `record` stands for, and the content's name. False: the record has no (valid) id.
static bool name_of(const struct lt_call *c, const struct lt_record *record, char file[FILES_NAME_MAX],
                    struct lt_span *content) {
    const struct files_worker *w = c->worker;
    const struct lt_record_cookie *cookie = record ? lt_record_cookie(record, w->cookie) : NULL;
    *content = cookie ? cookie->value : lt_span(NULL, 0);
    return cookie && w->profile->file(cookie->value, w->depth, file);
}

// "files:<id>", in the arena.
static struct lt_span content_name(struct lt_call *c, struct lt_span id) {
    return lt_arena_printf(lt_call_arena(c), "files:%.*s", (int)id.n, id.p);
}

static enum lt_verdict again(struct lt_call *c, lt_hook_fn *hook) {
    struct files_call *st = c->state;
    if (lt_clock_mono() >= st->give_up) {
        lt_metric_add(c->metrics, M_BUSY, 1);
        return lt_call_fail(c, 503, "session_file_busy");
    }
    return lt_call_sleep(c, RETRY_MS, hook);
}

static enum lt_verdict failed(struct lt_call *c, const char *what) {
    LT_LOG(LT_LOG_ERROR, "session_file", lt_f("id", lt_call_id(c)), lt_fs("what", what), lt_fs("why", strerror(errno)),
           lt_fs("do", "let lethe read and write the application's session directory (files.dir, files.owner)"));
    return lt_call_fail(c, 503, "session_file");
}

// --- before the request ---

static enum lt_verdict place(struct lt_call *c) {
    struct files_call *st = c->state;
    struct files_worker *w = c->worker;
    struct lt_session *s = lt_call_session(c);
    char file[FILES_NAME_MAX];
    struct lt_span id;
    if (!name_of(c, s->record, file, &id))
        return LT_NEXT;
    struct lt_span name = content_name(c, id);
    const struct lt_record_content *content = name.p ? lt_record_content(s->record, name) : NULL;
    enum file_result r = content ? file_put(&w->dir, file, content->bytes) : file_remove(&w->dir, file);
    if (r == FILE_BUSY)
        return again(c, place);
    if (r == FILE_FAILED || !name.p)
        return failed(c, "write");
    if (content) {
        memcpy(st->placed, file, sizeof file);
        lt_metric_add(c->metrics, r == FILE_SAME ? M_SAME : M_WRITTEN, 1);
    }
    return LT_NEXT;
}

static enum lt_verdict on_request(struct lt_call *c) {
    struct files_call *st = c->state;
    if (!lt_call_session(c))
        return LT_NEXT;
    st->give_up = lt_clock_mono() + conf_of(c)->wait;
    return place(c);
}

// --- after it ---

// The contents of ids that the session no longer has.
static void drop_others(struct lt_record *r, struct lt_span keep) {
    for (unsigned i = r->n_contents; i > 0; i--) {
        struct lt_span name = r->contents[i - 1].name;
        if (lt_span_starts(name, LT_S("files:")) && !lt_span_eq(name, keep))
            lt_record_drop_content(r, name);
    }
}

// Takes what the application has written into `record`. FILE_MISSING: there is no file (any more).
static enum file_result capture(struct lt_call *c, struct lt_record *record, char file[FILES_NAME_MAX]) {
    struct files_worker *w = c->worker;
    struct lt_span id;
    struct lt_buf bytes;
    file[0] = '\0';
    if (!name_of(c, record, file, &id))
        return FILE_OK;
    struct lt_span name = content_name(c, id);
    lt_buf_init(&bytes, (size_t)conf_of(c)->max_size);
    enum file_result r = name.p ? file_get(&w->dir, file, &bytes) : FILE_FAILED;
    if (r == FILE_OK && !lt_record_set_content(record, name, lt_buf_span(&bytes)))
        r = FILE_FAILED;
    if (r == FILE_MISSING)
        lt_record_drop_content(record, name);
    if (r == FILE_OK || r == FILE_MISSING)
        drop_others(record, name);
    if (r == FILE_OK)
        lt_metric_add(c->metrics, M_CAPTURED, 1);
    lt_buf_fini(&bytes);
    return r;
}

static enum lt_verdict not_captured(struct lt_call *c, enum file_result r, lt_hook_fn *hook) {
    if (r == FILE_BUSY)
        return again(c, hook);
    if (r == FILE_LARGE) {
        LT_LOG(LT_LOG_ERROR, "session_file_too_large", lt_f("id", lt_call_id(c)), lt_fs("do", "raise files.max_size"));
        return lt_call_fail(c, 503, "session_file_too_large");
    }
    return failed(c, "read");
}

static enum lt_verdict capture_both(struct lt_call *c) {
    struct files_call *st = c->state;
    struct lt_session *s = lt_call_session(c);
    char file[FILES_NAME_MAX];
    enum file_result r;
    if (s->previous && !st->previous_done) {
        r = capture(c, s->previous, file);
        if (r != FILE_OK && r != FILE_MISSING)
            return not_captured(c, r, capture_both);
        st->previous_done = true;
    }
    r = capture(c, s->record, file);
    if (r != FILE_OK && r != FILE_MISSING)
        return not_captured(c, r, capture_both);
    if (r == FILE_MISSING && strcmp(file, st->placed) == 0) {
        s->ended = true; // it was there when the request began: the application has destroyed the session
        lt_metric_add(c->metrics, M_REMOVED, 1);
    }
    return LT_NEXT;
}

static enum lt_verdict on_end(struct lt_call *c) {
    struct files_call *st = c->state;
    struct lt_session *s = lt_call_session(c);
    if (!s || !s->record || s->settled || s->ended || !lt_call_answered(c))
        return LT_NEXT;
    st->give_up = lt_clock_mono() + conf_of(c)->wait;
    return capture_both(c);
}

// An event stream or a WebSocket lasts: an application that has closed its session before it (its flock is free) is done with it.
static enum lt_verdict on_response(struct lt_call *c) {
    struct lt_session *s = lt_call_session(c);
    char file[FILES_NAME_MAX];
    enum file_result r;
    if (s && lt_framing_lasts(lt_call_response(c)))
        s->settled = (r = capture(c, s->record, file)) == FILE_OK || r == FILE_MISSING;
    return LT_NEXT;
}

// --- start ---

static bool enabled(const void *conf) {
    return ((const struct files_conf *)conf)->profile != 0;
}

static void check(const struct lt_config *config, struct lt_diag *diag) {
    const struct files_conf *conf = lt_config_group(config, "files");
    if (!enabled(conf))
        return;
    if (conf->dir.n == 0)
        lt_diag_add(
            diag,
            "files.dir: not given, but files.profile is \"%s\"; write the directory where the application keeps its "
            "session files",
            profiles[conf->profile]);
    if (!lt_span_starts(lt_config_text(config, "store"), LT_S("redis")))
        lt_diag_add(
            diag,
            "files.profile: session files do not fit into the client's cookie; write \"--store redis://host:port/0\"");
}

// "uid", "uid:gid", "user" or "user:group"; empty: the directory's.
static bool find_owner(struct files_dir *dir, const struct files_conf *conf, const struct stat *st) {
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
    if (!find_owner(&w->dir, conf, &st))
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

// PHP's save_path form "N;MODE;/dir": the last part is the directory, the first a depth.
static bool worker_init(void *worker, const void *conf_, const struct lt_services *services) {
    const struct files_conf *conf = conf_;
    struct files_worker *w = worker;
    (void)services;
    w->profile = by_profile[conf->profile];
    w->cookie = conf->cookie.n ? conf->cookie : lt_span_cstr(w->profile->cookie);
    const char *semicolon = strrchr(conf->dir.p, ';');
    unsigned long depth = semicolon ? strtoul(conf->dir.p, NULL, 10) : 0;
    if (depth > DEPTH_MAX)
        return refuse(conf->dir.p, "the depth is over 16", "write \"N;/dir\" as in session.save_path");
    w->depth = (unsigned)depth;
    bool ok = open_dir(w, conf, semicolon ? semicolon + 1 : conf->dir.p);
    if (!ok && w->dir.fd >= 0)
        close(w->dir.fd);
    return ok;
}

static void worker_fini(void *worker) {
    close(((struct files_worker *)worker)->dir.fd);
}

// clang-format off: one row an option
static const struct lt_option options[] = {
    {.name = "profile",
     .type = LT_OPT_ENUM,
     .offset = offsetof(struct files_conf, profile),
     .fallback = "",
     .choices = profiles,
     .doc = "The runtime whose session files are carried from replica to replica. Empty: none."},
    {.name = "dir",
     .type = LT_OPT_STRING,
     .offset = offsetof(struct files_conf, dir),
     .fallback = "",
     .unit = "path",
     .doc = "The directory where the application keeps its session files, shared with this lethe alone. For PHP the "
            "value of "
            "`session.save_path`, its form `N;/dir` included."},
    {.name = "owner",
     .type = LT_OPT_STRING,
     .offset = offsetof(struct files_conf, owner),
     .fallback = "",
     .unit = "user",
     .doc = "To whom session files belong: `user`, `user:group` or numbers. PHP takes no other's. Empty: the owner of "
            "the directory."},
    {.name = "cookie",
     .type = LT_OPT_STRING,
     .offset = offsetof(struct files_conf, cookie),
     .fallback = "",
     .unit = "name",
     .doc = "The session cookie whose value names the file. Empty: the profile's own (`PHPSESSID`)."},
    {.name = "max_size",
     .type = LT_OPT_SIZE,
     .offset = offsetof(struct files_conf, max_size),
     .fallback = "4m",
     .min = 1024,
     .max = 32 << 20,
     .doc = "The largest session file; beyond it 503, and nothing is stored."},
    {.name = "wait",
     .type = LT_OPT_DURATION,
     .offset = offsetof(struct files_conf, wait),
     .fallback = "30s",
     .min = 10,
     .max = 3600 * 1000,
     .doc = "How long the application may keep a session file locked, before the request or after the end of its "
            "answer; then 503."},
};
// clang-format on

#define FILES(event)                                                                                                   \
    { "lethe_session_files_total", "Session files by what was done with them.", LT_COUNTER, "event=\"" event "\"" }

static const struct lt_metric metrics[M_COUNT] = {
    [M_WRITTEN] = FILES("written"),   [M_SAME] = FILES("same"), [M_CAPTURED] = FILES("captured"),
    [M_REMOVED] = FILES("destroyed"), [M_BUSY] = FILES("busy"),
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
    .on_request = on_request,
    .on_response = on_response,
    .on_end = on_end,
};
