// SPDX-License-Identifier: Apache-2.0
#include "modules/audit/root.h"

#include "base/clock.h"
#include "modules/audit/allow.h"
#include "modules/audit/app.h"
#include "modules/audit/findings.h"
#include "modules/audit/under_way.h"
#include "modules/audit/watcher.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stdio.h>
#include <sys/vfs.h>
#include <unistd.h>

// A file's time comes from a clock that ticks: it is never before, but behind, by a tick or, on a virtual machine, a few.
enum { CLOCK_BEHIND = 20 };

// --- what was written ---

// By the file's own time; a file that is gone again was written since there was nothing to read from the kernel.
static void find_route(const struct root *r, const char *relative, char route[LT_ROUTE]) {
    struct stat st;
    snprintf(route, LT_ROUTE, "?");
    if (fstatat(r->fd, relative, &st, AT_SYMLINK_NOFOLLOW) != 0) {
        under_way_route(r->by == ROOT_INOTIFY ? r->tree.drained : r->mount.drained, lt_clock_wall(), route);
    } else if (r->clock_is_ours) {
        int64_t moment = (int64_t)st.st_ctim.tv_sec * 1000 + st.st_ctim.tv_nsec / 1000000;
        under_way_route(moment, moment + CLOCK_BEHIND, route);
    }
}

static void report(struct root *r, const char *relative) {
    char path[2 * PATH_MAX], route[LT_ROUTE];
    if (!watcher_reports(r->watcher))
        return;
    snprintf(path, sizeof path, "%s/%s", r->path, relative);
    if (audit_allowed(&r->watcher->conf->allow, path))
        return;
    find_route(r, relative, route);
    char *slash = strrchr(path, '/');
    char where[AUDIT_WHERE];
    snprintf(where, sizeof where, "%.*s", slash == path ? 1 : (int)(slash - path), path);
    audit_found(AUDIT_DISK, route, where, path, 1);
}

static void tree_written(void *user, const char *path) {
    report(user, path);
}

static bool tree_allowed(void *user, const char *relative) {
    const struct root *r = user;
    char path[2 * PATH_MAX];
    snprintf(path, sizeof path, "%s/%s", r->path, relative);
    return audit_allowed(&r->watcher->conf->allow, path);
}

static bool is_pseudo(int fd) {
    struct statfs fs;
    static const unsigned long magics[] = {PROC_SUPER_MAGIC,   SYSFS_MAGIC,   CGROUP_SUPER_MAGIC, CGROUP2_SUPER_MAGIC,
                                           DEVPTS_SUPER_MAGIC, DEBUGFS_MAGIC, TRACEFS_MAGIC,      SECURITYFS_MAGIC};
    if (fstatfs(fd, &fs) != 0)
        return true;
    for (unsigned i = 0; i < sizeof magics / sizeof *magics; i++)
        if ((unsigned long)fs.f_type == magics[i])
            return true;
    return false;
}

static bool tree_skip(void *user, const char *relative, int fd) {
    const struct root *r = user;
    char path[2 * PATH_MAX];
    struct stat st;
    snprintf(path, sizeof path, "%s/%s", r->path, relative);
    return audit_allowed_below(&r->watcher->conf->allow, path) || watcher_is_files_dir(r->watcher, fd) ||
           fstat(fd, &st) != 0 || (st.st_dev != r->dev && is_pseudo(fd));
}

// Does it lie in the directory of session files, or below it?
static bool in_files_dir(const struct root *r, const char *relative) {
    char path[PATH_MAX];
    snprintf(path, sizeof path, "%s", relative);
    for (char *slash; (slash = strrchr(path, '/'));) {
        *slash = '\0';
        int fd = tree_open(r->fd, path, O_PATH | O_DIRECTORY);
        bool found = fd >= 0 && watcher_is_files_dir(r->watcher, fd);
        if (fd >= 0)
            close(fd);
        if (found)
            return true;
    }
    return watcher_is_files_dir(r->watcher, r->fd);
}

static void link_of(int fd, char out[PATH_MAX]) {
    char name[32];
    snprintf(name, sizeof name, "/proc/self/fd/%d", fd);
    ssize_t n = readlink(name, out, PATH_MAX - 1);
    out[n > 0 ? n : 0] = '\0';
    if (strcmp(out, "/") == 0)
        out[0] = '\0';
}

static void mount_written(void *user, int fd) {
    static const char deleted[] = " (deleted)";
    struct root *r = user;
    char path[PATH_MAX];
    struct stat st;
    size_t n = strlen(r->real);
    link_of(fd, path);
    if (strncmp(path, r->real, n) != 0 || path[n] != '/')
        return; // the mark is the whole mount's
    size_t all = strlen(path), tail = sizeof deleted - 1;
    if (fstat(fd, &st) == 0 && st.st_nlink == 0 && all > tail && strcmp(path + all - tail, deleted) == 0)
        path[all - tail] = '\0';
    if (!in_files_dir(r, path + n + 1))
        report(r, path + n + 1);
}

// --- growth ---

static void on_measured(struct measure *m) {
    struct root *r = LT_ENTRY(m, struct root, measure);
    uint64_t limit = (uint64_t)r->watcher->conf->max_growth;
    char example[AUDIT_EXAMPLE];
    r->size = m->bytes;
    if (!r->has_base)
        r->base = m->bytes;
    r->has_base = true;
    uint64_t growth = r->size > r->base ? r->size - r->base : 0, steps = growth / limit;
    if (steps > r->steps && watcher_reports(r->watcher)) {
        snprintf(example, sizeof example, "from %llu to %llu bytes%s%.80s%s%.80s", (unsigned long long)r->base,
                 (unsigned long long)r->size, *m->new_path ? "; the largest new file is " : "",
                 *m->new_path ? r->path : "", *m->new_path ? "/" : "", m->new_path);
        audit_found(AUDIT_GROWTH, "?", *r->path ? r->path : "/", example, steps - r->steps);
        r->steps = steps;
    }
    lt_timer_set(r->watcher->services->loop, &r->again, r->watcher->conf->measure_every);
}

static void on_again(struct lt_timer *t) {
    struct root *r = LT_ENTRY(t, struct root, again);
    measure_begin(&r->measure, r->fd, r->since);
}

// --- its life ---

static void shut(struct root *r, const char *why) {
    struct lt_loop *loop = r->watcher->services->loop;
    r->why = why;
    measure_fini(&r->measure);
    lt_timer_clear(loop, &r->again);
    if (r->by == ROOT_INOTIFY)
        tree_fini(&r->tree);
    if (r->by == ROOT_FANOTIFY)
        mount_fini(&r->mount);
    r->by = ROOT_CLOSED;
    if (r->fd >= 0)
        close(r->fd);
    if (r->process >= 0)
        close(r->process);
    r->fd = r->process = -1;
    r->has_base = false;
    r->steps = 0;
}

static const char *open_in_app(struct root *r) {
    char name[32];
    const struct watcher *w = r->watcher;
    r->pid = w->conf->pid ? (int)w->conf->pid : audit_find_app(w->services->upstream);
    if (r->pid == 0)
        return "no process that listens at the upstream is seen: share the process namespace, or write audit.pid";
    snprintf(name, sizeof name, "/proc/%d", r->pid);
    r->process = open(name, O_PATH | O_DIRECTORY | O_CLOEXEC);
    int root = r->process >= 0 ? openat(r->process, "root", O_PATH | O_DIRECTORY | O_CLOEXEC) : -1;
    if (root < 0)
        return errno == EACCES ? "the process may not be looked into: run lethe as its user or with CAP_SYS_PTRACE"
                               : "the process has ended";
    r->fd = tree_open(root, *r->path ? r->path + 1 : "", O_RDONLY | O_DIRECTORY);
    close(root);
    return r->fd < 0 ? strerror(errno) : NULL;
}

static bool has_our_clock(int fd) {
    struct statfs fs;
    static const unsigned long foreign[] = {NFS_SUPER_MAGIC,       SMB_SUPER_MAGIC, 0xff534d42 /* cifs */,
                                            0xfe534d42 /* smb2 */, V9FS_MAGIC,      AFS_SUPER_MAGIC,
                                            0x00c36400 /* ceph */, 0x65735546 /* fuse */};
    bool ours = fstatfs(fd, &fs) == 0;
    for (unsigned i = 0; ours && i < sizeof foreign / sizeof *foreign; i++)
        ours = ((unsigned long)fs.f_type & 0xffffffff) != foreign[i];
    return ours;
}

static const char *begin(struct root *r) {
    static const struct tree_ops ops = {.skip = tree_skip, .written = tree_written, .allowed = tree_allowed};
    const struct watcher *w = r->watcher;
    struct lt_loop *loop = w->services->loop;
    struct stat st;
    r->dev = fstat(r->fd, &st) == 0 ? st.st_dev : 0;
    r->clock_is_ours = has_our_clock(r->fd);
    link_of(r->fd, r->real);
    bool wanted = w->conf->watch == AUDIT_WATCH_FANOTIFY;
    r->refused = false;
    if (wanted && mount_init(&r->mount, loop, r->fd, mount_written, r))
        r->by = ROOT_FANOTIFY;
    else if (tree_init(&r->tree, loop, r->fd, (unsigned)w->conf->max_watches, &ops, r))
        r->by = ROOT_INOTIFY;
    r->refused = wanted && r->by != ROOT_FANOTIFY;
    return r->by == ROOT_CLOSED ? "the kernel gives no inotify: see fs.inotify.max_user_instances" : NULL;
}

static void attach(struct root *r) {
    const char *why;
    if (r->of_app) {
        why = open_in_app(r);
    } else {
        r->fd = open(*r->path ? r->path : "/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        why = r->fd < 0 ? strerror(errno) : NULL;
    }
    why = why ? why : begin(r);
    if (why) {
        shut(r, why);
        return;
    }
    r->why = NULL;
    r->since = lt_clock_wall();
    if (r->watcher->conf->max_growth)
        measure_begin(&r->measure, r->fd, r->since);
}

void root_init(struct root *r, struct watcher *w, struct lt_span text) {
    r->watcher = w;
    r->of_app = lt_span_starts(text, LT_S("pid:"));
    if (r->of_app)
        text = lt_span(text.p + 4, text.n - 4);
    while (text.n && text.p[text.n - 1] == '/')
        text.n--;
    snprintf(r->path, sizeof r->path, "%.*s", (int)text.n, text.p);
    r->fd = r->process = -1;
    r->why = "not looked at yet";
    measure_init(&r->measure, w->services->loop, on_measured);
    lt_timer_init(&r->again, on_again);
}

void root_fini(struct root *r) {
    shut(r, "ended");
}

void root_look(struct root *r, bool search) {
    char link[8];
    if (r->of_app && r->fd >= 0 && readlinkat(r->process, "root", link, sizeof link) < 0) {
        shut(r, "the process has ended");
        search = true;
    }
    if (r->fd < 0 && (search || !r->of_app))
        attach(r);
}
