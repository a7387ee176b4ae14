// SPDX-License-Identifier: Apache-2.0
// An application may write its session behind the end of its answer (fastcgi_finish_request, a valve, a streamed page). For a while after each
// exchange its files are watched; a change is brought into the record under a lock of its own, unless another request, on whichever
// replica, has worked on the session since: then that one counts, and the late write is lost, and counted.
#include "modules/files/state.h"

#include "base/clock.h"
#include "base/lost.h"

#include <stdio.h>
#include <stdlib.h>

enum { LATE_MAX = 1024, SWEEP_MS = 1000 };

struct late_file {
    struct lt_list node;
    struct watch_entry watched;
    struct lt_later later;
    struct files_worker *worker;
    const struct lt_sessions *sessions;
    char name[FILES_NAME_MAX], route[64];
    struct file_mark mark; // as it is in the record
    int64_t until;         // mono ms
    bool busy;             // `later` is on its way
    bool again;            // it has changed meanwhile
    bool forgotten;        // freed when `later` ends
};

static void free_file(struct late_file *f) {
    watch_remove(&f->watched);
    lt_list_remove(&f->node);
    f->worker->n_late--;
    free(f);
}

static void forget(struct late_file *f) {
    watch_remove(&f->watched);
    if (f->busy)
        f->forgotten = true;
    else
        free_file(f);
}

static bool has_changed(const struct late_file *f) {
    struct file_mark now; // removed: a cleaner's work is no logout
    return file_look(&f->worker->dir, f->name, &now) && !file_mark_eq(&now, &f->mark);
}

// Under the session's lock.
static bool amend(struct lt_later *l, struct lt_record *r) {
    struct late_file *f = LT_ENTRY(l, struct late_file, later);
    struct lt_buf bytes;
    char text[FILES_CONTENT_MAX];
    const char *why;
    lt_buf_init(&bytes, (size_t)f->worker->conf->max_size);
    bool taken = file_take(&f->worker->dir, f->name, &bytes, &f->mark, &why) == FILE_OK; // busy: its end will be told
    bool changed =
        taken && lt_record_set_content(r, files_content_name(f->name, text), lt_buf_span(&bytes)) && r->changed;
    lt_buf_fini(&bytes);
    return changed;
}

static void lost(const struct late_file *f) {
    lt_lost_add("late_write", lt_span_cstr(f->route));
    LT_LOG(
        LT_LOG_WARN, "session_late_write_lost", lt_fs("route", f->route),
        lt_fs("why", "the application wrote its session behind its answer, and another request had begun before that"));
}

static void begin(struct late_file *f);

static void on_gone(struct lt_later *l, enum lt_later_result r) {
    struct late_file *f = LT_ENTRY(l, struct late_file, later);
    f->busy = false;
    if (r == LT_LATER_SAVED)
        lt_metric_add(f->worker->services->metrics, M_LATE, 1);
    bool others = r == LT_LATER_GONE || r == LT_LATER_LOST;
    if (others && !f->forgotten)
        lost(f);
    if (f->forgotten || others || r == LT_LATER_ENDED)
        free_file(f);
    else if (f->again && has_changed(f))
        begin(f);
}

static void begin(struct late_file *f) {
    f->busy = true;
    f->again = false;
    f->later.amend = amend;
    f->later.gone = on_gone;
    f->sessions->begin(f->sessions, &f->later);
}

static void on_changed(struct watch_entry *e) {
    struct late_file *f = LT_ENTRY(e, struct late_file, watched);
    if (f->busy) {
        f->again = true;
        return;
    }
    if (!has_changed(f))
        return;
    uint64_t fence = file_fence(&f->worker->dir, f->name);
    if (fence && fence != f->later.fence)
        forget(f); // another worker has placed it for a request of its own
    else
        begin(f);
}

static void sweep(struct lt_timer *t) {
    struct files_worker *w = LT_ENTRY(t, struct files_worker, late_timer);
    int64_t now = lt_clock_mono();
    for (struct lt_list *n = w->late.next, *next; n != &w->late; n = next) {
        next = n->next;
        struct late_file *f = LT_ENTRY(n, struct late_file, node);
        if (f->until > now && w->n_late <= LATE_MAX)
            break;
        if (!f->busy)
            free_file(f);
    }
    if (w->n_late)
        lt_timer_set(w->services->loop, t, SWEEP_MS);
}

void late_forget(struct files_worker *w, const char *name) {
    struct watch_entry *e;
    while ((e = watch_find(&w->watch, name, on_changed)))
        forget(LT_ENTRY(e, struct late_file, watched));
}

void late_watch(struct files_worker *w, const struct lt_session *s, const char *name, const struct file_mark *mark,
                struct lt_span path) {
    if (w->watch.fd < 0 || w->conf->linger == 0 || !s->sessions || !s->token)
        return;
    late_forget(w, name);
    struct late_file *f = calloc(1, sizeof *f);
    if (!f)
        return;
    f->worker = w;
    f->sessions = s->sessions;
    f->mark = *mark;
    f->later.token = *s->token;
    f->later.fence = s->fence;
    f->until = lt_clock_mono() + w->conf->linger;
    snprintf(f->name, sizeof f->name, "%s", name);
    snprintf(f->route, sizeof f->route, "%.*s", (int)lt_span_find(path, '?'), path.p);
    watch_add(&w->watch, &f->watched, name, on_changed);
    lt_list_append(&w->late, &f->node);
    if (++w->n_late > LATE_MAX)
        sweep(&w->late_timer);
    else if (!lt_timer_is_set(&w->late_timer))
        lt_timer_set(w->services->loop, &w->late_timer, SWEEP_MS);
}

void late_init(struct files_worker *w) {
    lt_list_init(&w->late);
    lt_timer_init(&w->late_timer, sweep);
}

void late_fini(struct files_worker *w) {
    lt_timer_clear(w->services->loop, &w->late_timer);
    while (!lt_list_empty(&w->late)) // none is busy: it would hold the services
        free_file(LT_ENTRY(w->late.next, struct late_file, node));
}
