// SPDX-License-Identifier: Apache-2.0
#include "modules/audit/watcher.h"

#include "base/lost.h"
#include "modules/audit/findings.h"

#include <pthread.h>
#include <stdlib.h>

enum { TICK_MS = 1000, SEARCH_TICKS = 5 };

// Which thread watches: the first that asks. What stands in the list belongs to that thread.
static struct {
    pthread_mutex_t lock;
    struct lt_loop *loop; // NULL: nobody
    struct lt_list watchers;
} home = {.lock = PTHREAD_MUTEX_INITIALIZER, .watchers = {&home.watchers, &home.watchers}};

static void count_lost(void) {
    struct lt_lost rows[LT_LOST_ROWS];
    uint64_t total = 0;
    unsigned n = lt_lost_look(rows, LT_LOST_ROWS);
    for (unsigned i = 0; i < n; i++)
        total += rows[i].count;
    audit_see_lost(total);
}

static void on_tick(struct lt_timer *t) {
    struct watcher *w = LT_ENTRY(t, struct watcher, tick);
    for (unsigned i = 0; i < w->n; i++)
        root_look(&w->roots[i], w->ticks % SEARCH_TICKS == 0);
    w->ticks++;
    if (watcher_reports(w)) {
        count_lost();
        for (unsigned k = 0; k < AUDIT_KINDS; k++)
            lt_metric_set(w->services->metrics, k, audit_count((enum audit_kind)k));
    }
    lt_timer_set(w->services->loop, t, TICK_MS);
}

bool watcher_reports(const struct watcher *w) {
    return home.watchers.next == &w->node;
}

static void find_files_dir(struct watcher *w) {
    const struct lt_config *config = w->services->config;
    struct lt_span dir = lt_config_text(config, "files.dir");
    struct stat st;
    if (!lt_config_number(config, "files.profile") || dir.n == 0)
        return;
    const char *semicolon = strrchr(dir.p, ';'); // PHP's "N;/dir"
    if (stat(semicolon ? semicolon + 1 : dir.p, &st) != 0)
        return;
    w->has_files = true;
    w->files_dev = st.st_dev;
    w->files_ino = st.st_ino;
}

bool watcher_is_files_dir(const struct watcher *w, int fd) {
    struct stat st;
    return w->has_files && fstat(fd, &st) == 0 && st.st_dev == w->files_dev && st.st_ino == w->files_ino;
}

// The admin's thread has time; where there is none, one worker does it beside its own work.
static bool may_watch(const struct lt_services *s) {
    enum lt_role role = lt_config_text(s->config, "admin").n ? LT_ROLE_ADMIN : LT_ROLE_PROXY;
    return s->role == role && (!home.loop || home.loop == s->loop);
}

static bool claim(struct watcher *w) {
    pthread_mutex_lock(&home.lock);
    bool mine = may_watch(w->services);
    if (mine) {
        home.loop = w->services->loop;
        lt_list_push(&home.watchers, &w->node);
    }
    pthread_mutex_unlock(&home.lock);
    return mine;
}

bool watcher_new(struct watcher **out, const struct audit_conf *conf, const struct lt_services *services) {
    struct watcher *w = calloc(1, sizeof *w);
    *out = NULL;
    if (!w)
        return false;
    w->services = services;
    w->conf = conf;
    if (!claim(w)) {
        free(w);
        return true;
    }
    audit_limit((unsigned)conf->max_findings);
    find_files_dir(w);
    for (unsigned i = 0; i < conf->paths.n; i++)
        root_init(&w->roots[w->n++], w, conf->paths.v[i]);
    lt_timer_init(&w->tick, on_tick);
    on_tick(&w->tick);
    *out = w;
    return true;
}

void watcher_free(struct watcher *w) {
    if (!w)
        return;
    lt_timer_clear(w->services->loop, &w->tick);
    for (unsigned i = 0; i < w->n; i++)
        root_fini(&w->roots[i]);
    pthread_mutex_lock(&home.lock);
    lt_list_remove(&w->node);
    if (lt_list_empty(&home.watchers))
        home.loop = NULL;
    pthread_mutex_unlock(&home.lock);
    free(w);
}

// --- the report ---

static void note_root(struct lt_exam *e, const struct root *r) {
    const char *app = r->of_app ? "the application's " : "", *path = *r->path ? r->path : "/";
    if (r->by == ROOT_CLOSED)
        lt_exam_finding(e, "write a directory that is there in audit.paths, or give lethe the rights that it needs",
                        "%s%s is not watched: %s", app, path, r->why);
    else if (r->by == ROOT_FANOTIFY)
        lt_exam_note(
            e,
            "%s%s is watched by fanotify: all writes through this mount; not what is renamed there, what other "
            "mounts below it hold, and memory maps only when they are closed",
            app, path);
    else
        lt_exam_note(e,
                     "%s%s is watched by inotify%s: %u directories%s; not who writes, what other machines write to a "
                     "network file system, and memory maps only when they are closed",
                     app, path, r->refused ? " (fanotify is not allowed here)" : "", r->tree.live,
                     tree_is_complete(&r->tree) ? "" : " so far");
    if (r->by == ROOT_INOTIFY && r->tree.skipped)
        lt_exam_note(e,
                     "%u directories in it are not watched: not readable, too deep, or beyond audit.max_watches or "
                     "fs.inotify.max_user_watches",
                     r->tree.skipped);
    unsigned overflows = r->by == ROOT_INOTIFY ? r->tree.overflows : r->by == ROOT_FANOTIFY ? r->mount.overflows : 0;
    if (overflows)
        lt_exam_note(e, "%u times more happened in it than the kernel keeps: some writes were not seen", overflows);
    if (r->has_base)
        lt_exam_note(e, "%llu bytes lie in it, %llu when lethe began%s", (unsigned long long)r->size,
                     (unsigned long long)r->base, r->measure.cut ? " (too deep or too much: not all was added up)" : "");
}

static bool sees_all(const struct root *r) {
    return r->by == ROOT_FANOTIFY ? r->mount.overflows == 0
                                  : r->by == ROOT_INOTIFY && r->tree.overflows == 0 && r->tree.skipped == 0;
}

void watcher_examine(struct lt_exam *e) {
    if (lt_list_empty(&home.watchers))
        return;
    const struct watcher *w = LT_ENTRY(home.watchers.next, struct watcher, node);
    bool all = w->n > 0;
    for (unsigned i = 0; i < w->n; i++) {
        note_root(e, &w->roots[i]);
        all = all && sees_all(&w->roots[i]);
    }
    if (all && audit_count(AUDIT_DISK) == 0)
        lt_exam_kept(e, LT_REQ_FILES, "nothing was written in %u watched directories outside audit.allow", w->n);
    else if (w->n && !all)
        lt_exam_unsure(e, LT_REQ_FILES, "see what is not watched below audit", "not all of audit.paths is seen");
}
