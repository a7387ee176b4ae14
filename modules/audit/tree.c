// SPDX-License-Identifier: Apache-2.0
#include "modules/audit/tree.h"

#include "base/clock.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

enum {
    EVENTS = IN_CREATE | IN_MODIFY | IN_CLOSE_WRITE | IN_MOVED_FROM | IN_MOVED_TO | IN_EXCL_UNLINK | IN_ONLYDIR,
    READ_SIZE = 32768,
    STEP = 64, // directories at once: the thread has others to serve
    DEPTH = 64,
    ENTRIES = 1 << 20, // of one directory
};

int tree_open(int root, const char *path, int flags) {
    struct open_how how = {.flags = (unsigned)(flags | O_CLOEXEC), .resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS};
    if (!*path)
        path = ".";
    long fd = syscall(SYS_openat2, root, path, &how, sizeof how);
    if (fd < 0 && (errno == ENOSYS || errno == EPERM)) // an old kernel, or a filter that does not know the call
        fd = openat(root, path, flags | O_CLOEXEC | O_NOFOLLOW);
    return (int)fd;
}

// --- the table ---

static struct tree_dir *find(const struct tree *t, int wd) {
    unsigned from = 0, to = t->n;
    while (from < to) {
        unsigned middle = (from + to) / 2;
        if (t->dirs[middle].wd < wd)
            from = middle + 1;
        else
            to = middle;
    }
    return from < t->n && t->dirs[from].wd == wd && t->dirs[from].name ? &t->dirs[from] : NULL;
}

static void compact(struct tree *t) {
    unsigned n = 0, next = 0;
    for (unsigned i = 0; i < t->n; i++) {
        if (i == t->next)
            next = n;
        if (t->dirs[i].name)
            t->dirs[n++] = t->dirs[i];
    }
    t->next = t->next < t->n ? next : n;
    t->n = n;
}

static bool make_room(struct tree *t) {
    if (t->n < t->cap)
        return true;
    if (t->live < t->n / 2) {
        compact(t);
        return true;
    }
    unsigned cap = t->cap ? t->cap * 2 : 64;
    struct tree_dir *dirs = realloc(t->dirs, cap * sizeof *dirs);
    if (!dirs)
        return false;
    t->dirs = dirs;
    t->cap = cap;
    return true;
}

static bool prepend(char *out, size_t *at, const char *name) {
    size_t n = strlen(name);
    if (n + 1 > *at)
        return false;
    if (out[*at])
        out[--*at] = '/';
    *at -= n;
    for (size_t i = 0; i < n; i++)
        out[*at + i] = name[i];
    return true;
}

// "a/b/name", relative to the root, into `out`; NULL: too long, or its directory is gone.
static const char *path_of(const struct tree *t, int wd, const char *name, char out[PATH_MAX]) {
    size_t at = PATH_MAX - 1;
    out[at] = '\0';
    if (*name && !prepend(out, &at, name))
        return NULL;
    for (unsigned depth = 0; depth < DEPTH; depth++) {
        const struct tree_dir *d = find(t, wd);
        if (!d)
            return NULL;
        if (d->parent < 0)
            return out + at;
        if (!prepend(out, &at, d->name))
            return NULL;
        wd = d->parent;
    }
    return NULL;
}

// --- adding directories ---

static void schedule(struct tree *t) {
    if (!lt_timer_is_set(&t->step))
        lt_timer_set(t->loop, &t->step, 0);
}

static void forget(struct tree *t, struct tree_dir *d) {
    free(d->name);
    d->name = NULL;
    t->live--;
}

static bool append(struct tree *t, const struct tree_dir *dir) {
    char *name = strdup(dir->name);
    if (!name || !make_room(t)) {
        free(name);
        return false;
    }
    t->dirs[t->n] = *dir;
    t->dirs[t->n++].name = name;
    t->live++;
    return true;
}

// The kernel gives a directory that it watches already the same wd: it was renamed, or is looked at again.
static void watch(struct tree *t, int parent, const char *name, int fd, bool fresh) {
    char link[32];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    int wd = t->live < t->max ? inotify_add_watch(t->fd, link, EVENTS) : -1;
    if (wd < 0) {
        t->skipped++;
        return;
    }
    struct tree_dir *known = find(t, wd);
    if (known) {
        char *copy = strdup(name);
        if (copy) {
            free(known->name);
            known->name = copy;
            known->parent = parent;
        }
    } else if (append(t, &(struct tree_dir){.wd = wd, .parent = parent, .name = (char *)(uintptr_t)name, .fresh = fresh})) {
        schedule(t);
    } else {
        inotify_rm_watch(t->fd, wd);
        t->skipped++;
    }
}

static void add(struct tree *t, int parent, const char *name, bool fresh) {
    char text[PATH_MAX];
    const char *path = path_of(t, parent, name, text);
    int fd = path ? tree_open(t->root, path, O_RDONLY | O_DIRECTORY | O_NONBLOCK) : -1;
    if (fd < 0) { // too deep, not ours to read, or gone again
        t->skipped += !path || errno != ENOENT;
        return;
    }
    if (!t->ops->skip(t->user, path, fd))
        watch(t, parent, name, fd, fresh);
    close(fd);
}

// --- scanning: what there was before the watch ---

static bool is_open(const struct tree *t, int wd, unsigned hash, unsigned *at) {
    for (*at = 0; *at < TREE_RECENT; (*at)++)
        if (t->open[*at].wd == wd && t->open[*at].hash == hash)
            return true;
    return false;
}

static unsigned hash_of(const char *name) {
    unsigned h = 5381;
    for (; *name; name++)
        h = h * 33 + (unsigned char)*name;
    return h;
}

static void tell(struct tree *t, int wd, const char *name) {
    char text[PATH_MAX];
    const char *path = path_of(t, wd, name, text);
    if (path)
        t->ops->written(t->user, path);
}

// False: it was in mind already.
static bool keep_in_mind(struct tree *t, int wd, const char *name) {
    unsigned at, hash = hash_of(name);
    if (is_open(t, wd, hash, &at))
        return false;
    at = t->next_open++ % TREE_RECENT;
    t->open[at].wd = wd;
    t->open[at].hash = hash;
    return true;
}

// A scan will find every file of this directory, also those that events tell of.
static bool awaits_scan(const struct tree *t, int wd) {
    const struct tree_dir *d = find(t, wd);
    return d && d->fresh;
}

// The first sight of a file that is being written; its end tells nothing new.
static void begin_writing(struct tree *t, int wd, const char *name) {
    if (keep_in_mind(t, wd, name))
        tell(t, wd, name);
}

static void end_writing(struct tree *t, int wd, const char *name) {
    unsigned at;
    if (awaits_scan(t, wd))
        begin_writing(t, wd, name);
    else if (is_open(t, wd, hash_of(name), &at))
        t->open[at].wd = 0;
    else
        tell(t, wd, name);
}

static void look_at(struct tree *t, int wd, bool fresh, int fd, const struct dirent *e) {
    struct stat st;
    unsigned char type = e->d_type;
    if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0)
        return;
    if (type == DT_UNKNOWN && fstatat(fd, e->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0)
        type = S_ISDIR(st.st_mode) ? DT_DIR : S_ISREG(st.st_mode) ? DT_REG : DT_UNKNOWN;
    if (type == DT_DIR)
        add(t, wd, e->d_name, fresh);
    else if (type == DT_REG && fresh)
        begin_writing(t, wd, e->d_name);
}

static void scan(struct tree *t, unsigned index) {
    char text[PATH_MAX];
    struct tree_dir *d = &t->dirs[index];
    int wd = d->wd;
    bool fresh = d->fresh;
    const char *path = path_of(t, wd, "", text);
    d->scanned = true;
    d->fresh = false;
    int fd = path ? tree_open(t->root, path, O_RDONLY | O_DIRECTORY | O_NONBLOCK) : -1;
    DIR *dir = fd >= 0 ? fdopendir(fd) : NULL;
    if (!dir) {
        if (fd >= 0)
            close(fd);
        return;
    }
    struct dirent *e;
    for (unsigned i = 0; i < ENTRIES && (e = readdir(dir)); i++)
        look_at(t, wd, fresh, dirfd(dir), e); // may move the table
    closedir(dir);
}

static void on_step(struct lt_timer *timer) {
    struct tree *t = LT_ENTRY(timer, struct tree, step);
    unsigned scanned = 0;
    for (; t->next < t->n && scanned < STEP; t->next++)
        if (t->dirs[t->next].name && !t->dirs[t->next].scanned) {
            scan(t, t->next);
            scanned++;
        }
    if (t->next < t->n)
        lt_timer_set(t->loop, timer, 1);
}

// Events were lost, directories may have come in them.
static void scan_again(struct tree *t) {
    for (unsigned i = 0; i < t->n; i++)
        t->dirs[i].scanned = false;
    t->next = 0;
    schedule(t);
}

// --- events ---

static void moved_in(struct tree *t, const struct inotify_event *e) {
    bool here = e->cookie == t->moved_cookie && e->cookie; // from a directory that we watch
    if (e->mask & IN_ISDIR) {
        add(t, e->wd, e->name, !here);
        return;
    }
    bool first = !awaits_scan(t, e->wd) || keep_in_mind(t, e->wd, e->name);
    if (first && (!here || t->moved_counts))
        tell(t, e->wd, e->name);
}

static void moved_out(struct tree *t, const struct inotify_event *e) {
    char text[PATH_MAX];
    const char *path = path_of(t, e->wd, e->name, text);
    t->moved_cookie = e->cookie;
    t->moved_counts = path && t->ops->allowed(t->user, path);
}

static void on_event(struct tree *t, const struct inotify_event *e) {
    struct tree_dir *d;
    if (e->mask & IN_Q_OVERFLOW) {
        t->overflows++;
        scan_again(t);
    } else if (e->mask & IN_IGNORED) {
        d = find(t, e->wd);
        if (d)
            forget(t, d);
    } else if (e->len == 0) {
        return; // of the directory itself
    } else if (e->mask & IN_MOVED_TO) {
        moved_in(t, e);
    } else if (e->mask & IN_MOVED_FROM) {
        moved_out(t, e);
    } else if (e->mask & IN_ISDIR) {
        if (e->mask & IN_CREATE)
            add(t, e->wd, e->name, true);
    } else if (e->mask & IN_MODIFY) {
        begin_writing(t, e->wd, e->name);
    } else if (e->mask & IN_CLOSE_WRITE) {
        end_writing(t, e->wd, e->name);
    }
}

static void on_events(evutil_socket_t fd, short what, void *arg) {
    (void)what;
    struct tree *t = arg;
    _Alignas(struct inotify_event) char data[READ_SIZE];
    int64_t now = lt_clock_wall();
    ssize_t n = read((int)fd, data, sizeof data);
    for (ssize_t at = 0; at < n;) {
        const struct inotify_event *e = (const struct inotify_event *)(const void *)(data + at);
        on_event(t, e);
        at += (ssize_t)(sizeof *e + e->len);
    }
    if (n < (ssize_t)sizeof data / 2) // the kernel had no more
        t->drained = now;
}

bool tree_init(struct tree *t, struct lt_loop *loop, int root, unsigned max, const struct tree_ops *ops, void *user) {
    *t = (struct tree){.loop = loop, .ops = ops, .user = user, .root = root, .max = max, .drained = lt_clock_wall()};
    lt_timer_init(&t->step, on_step);
    t->fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
    if (t->fd < 0)
        return false;
    event_assign(&t->event, loop->base, t->fd, EV_READ | EV_PERSIST, on_events, t);
    event_add(&t->event, NULL);
    watch(t, -1, "", root, false);
    return true;
}

void tree_fini(struct tree *t) {
    if (t->fd < 0)
        return;
    event_del(&t->event);
    close(t->fd);
    t->fd = -1;
    lt_timer_clear(t->loop, &t->step);
    for (unsigned i = 0; i < t->n; i++)
        free(t->dirs[i].name);
    free(t->dirs);
    t->dirs = NULL;
    t->n = 0;
}

bool tree_is_complete(const struct tree *t) {
    return t->next >= t->n;
}
