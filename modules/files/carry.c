// SPDX-License-Identifier: Apache-2.0
// One exchange. The session module holds the session's lock around all of this, and commits what is taken here.
//
//   on_request    the files of the session are placed: written from the record, or what a crash has left in them is taken
//   on_response   what the application has closed by then is taken at once, and the session is free for the next request
//   on_end        behind the application's last byte: its barrier, then what its files hold goes into the record
#include "modules/files/state.h"

#include "base/clock.h"
#include "base/lost.h"
#include "http/framing.h"

#include <errno.h>
#include <stdio.h>

enum { RETRY_MS = 10 };

// The files of one session: for each of its ids (an application of several parts may have one a path) all patterns.
struct file_set {
    const char *names[FILES_SET_MAX];
    bool main[FILES_SET_MAX];     // of the first pattern: without it there is no session
    bool expected[FILES_SET_MAX]; // the application writes it after every request, this one too
    unsigned n;
};

static struct files_worker *worker_of(const struct lt_call *c) {
    return c->worker;
}

struct lt_span files_content_name(const char *file, char out[FILES_CONTENT_MAX]) {
    int n = snprintf(out, FILES_CONTENT_MAX, "files:%s", file);
    return lt_span(out, (size_t)n);
}

static bool add_name(struct lt_call *c, struct file_set *set, unsigned pattern, struct lt_span id, bool expected) {
    char name[FILES_NAME_MAX];
    if (set->n == FILES_SET_MAX || !files_name(worker_of(c)->patterns[pattern], id, worker_of(c)->depth, name))
        return true; // not an id that the application would take
    struct lt_span copy = lt_arena_dup(lt_call_arena(c), lt_span_cstr(name));
    set->main[set->n] = pattern == 0;
    set->expected[set->n] = expected && pattern == 0;
    set->names[set->n++] = copy.p;
    return copy.p != NULL;
}

// False: no memory.
static bool set_of(struct lt_call *c, const struct lt_record *record, struct file_set *set) {
    const struct files_worker *w = worker_of(c);
    char id[FILES_ID_MAX];
    size_t n;
    set->n = 0;
    for (unsigned i = 0; record && i < record->n_cookies; i++) {
        const struct lt_record_cookie *cookie = &record->cookies[i];
        if (!lt_span_eq(cookie->name, w->cookie) || !files_id(w->id, cookie->value, id, &n))
            continue;
        bool expected = w->always && lt_cookie_path_match(cookie->path, lt_call_request(c)->path);
        for (unsigned p = 0; p < FILES_PATTERNS && w->patterns[p]; p++)
            if (!add_name(c, set, p, lt_span(id, n), expected))
                return false;
    }
    return true;
}

static struct placed *placed_of(struct files_call *st, const char *name) {
    for (unsigned i = 0; i < st->n_placed; i++)
        if (strcmp(st->placed[i].name, name) == 0)
            return &st->placed[i];
    return NULL;
}

// --- waiting for the application ---

static void stop_waiting(struct files_call *st) {
    watch_remove(&st->watched);
    lt_timer_clear(lt_call_loop(st->call), &st->timer);
}

static void wake(struct files_call *st) {
    stop_waiting(st);
    lt_call_resume(st->call);
}

static void on_changed(struct watch_entry *e) {
    wake(LT_ENTRY(e, struct files_call, watched));
}

static void on_time(struct lt_timer *t) {
    wake(LT_ENTRY(t, struct files_call, timer));
}

static void on_cancel(struct lt_call *c) {
    stop_waiting(c->state);
}

// Looks again when the file has changed, and now and then.
static enum lt_verdict look_again(struct lt_call *c, const char *name, lt_hook_fn *hook) {
    struct files_call *st = c->state;
    watch_add(&worker_of(c)->watch, &st->watched, name, on_changed);
    lt_timer_init(&st->timer, on_time);
    lt_timer_set(lt_call_loop(c), &st->timer, RETRY_MS);
    return lt_call_wait(c, hook, on_cancel);
}

static enum lt_verdict busy(struct lt_call *c, const char *name, lt_hook_fn *hook) {
    struct files_call *st = c->state;
    if (lt_clock_mono() < st->give_up)
        return look_again(c, name, hook);
    lt_metric_add(c->metrics, M_BUSY, 1);
    return lt_call_fail(c, 503, "session_file_busy");
}

// --- what went wrong ---

static enum lt_verdict failed(struct lt_call *c, const char *what) {
    LT_LOG(LT_LOG_ERROR, "session_file", lt_f("id", lt_call_id(c)), lt_fs("what", what), lt_fs("why", strerror(errno)),
           lt_fs("do", "let lethe read and write the application's session directory (files.dir, files.owner)"));
    return lt_call_fail(c, 503, "session_file");
}

static enum lt_verdict refused(struct lt_call *c, const char *name, const char *why) {
    lt_metric_add(c->metrics, M_REFUSED, 1);
    LT_LOG(LT_LOG_ERROR, "session_file_refused", lt_f("id", lt_call_id(c)), lt_fn("name_length", (int64_t)strlen(name)),
           lt_fs("why", why),
           lt_fs("do", "remove it from files.dir; only regular files of files.owner belong there, and nobody else may "
                       "write there"));
    return lt_call_fail(c, 503, "session_file_refused");
}

static enum lt_verdict too_large(struct lt_call *c) {
    LT_LOG(LT_LOG_ERROR, "session_file_too_large", lt_f("id", lt_call_id(c)), lt_fs("do", "raise files.max_size"));
    return lt_call_fail(c, 503, "session_file_too_large");
}

static enum lt_verdict trouble(struct lt_call *c, enum file_result r, const char *name, const char *why,
                               lt_hook_fn *hook) {
    switch (r) {
    case FILE_BUSY:
        return busy(c, name, hook);
    case FILE_LARGE:
        return too_large(c);
    case FILE_REFUSED:
        return refused(c, name, why);
    default:
        return failed(c, "read or write");
    }
}

// --- before the request ---

static void note_placed(struct lt_call *c, const char *name, const struct file_mark *mark, enum file_result r) {
    struct files_call *st = c->state;
    struct placed *p = placed_of(st, name);
    if (!p) {
        p = &st->placed[st->n_placed++];
        lt_metric_add(c->metrics, r == FILE_SAME ? M_SAME : r == FILE_NEWER ? M_RECOVERED : M_WRITTEN, 1);
    }
    *p = (struct placed){name, *mark};
}

static enum file_result place_one(struct lt_call *c, struct lt_session *s, const char *name, const char **why) {
    struct files_worker *w = worker_of(c);
    char text[FILES_CONTENT_MAX];
    struct lt_span content_name = files_content_name(name, text);
    const struct lt_record_content *content = lt_record_content(s->record, content_name);
    struct file_mark mark;
    struct lt_buf found;
    late_forget(w, name);
    watch_parent(&w->watch, w->dir.fd, name);
    if (!content)
        return file_remove(&w->dir, name, why);
    lt_buf_init(&found, (size_t)w->conf->max_size);
    enum file_result r = file_place(&w->dir, name, content->bytes, s->fence, &found, &mark, why);
    if (r == FILE_OK || r == FILE_SAME || r == FILE_NEWER)
        note_placed(c, name, &mark, r);
    if (r == FILE_NEWER && !lt_record_set_content(s->record, content_name, lt_buf_span(&found)))
        r = FILE_FAILED;
    lt_buf_fini(&found);
    return r;
}

static enum lt_verdict place(struct lt_call *c) {
    struct files_call *st = c->state;
    struct lt_session *s = lt_call_session(c);
    struct file_set set;
    const char *why = "";
    if (!set_of(c, s->record, &set))
        return lt_call_fail(c, 503, "memory");
    for (unsigned i = 0; i < set.n; i++) {
        enum file_result r = place_one(c, s, set.names[i], &why);
        if (r != FILE_OK && r != FILE_SAME && r != FILE_NEWER)
            return trouble(c, r, set.names[i], why, place);
        st->absent = st->absent || (set.main[i] && !placed_of(st, set.names[i]));
    }
    return LT_NEXT;
}

enum lt_verdict files_on_request(struct lt_call *c) {
    struct files_call *st = c->state;
    st->call = c;
    if (!lt_call_session(c))
        return LT_NEXT;
    st->give_up = lt_clock_mono() + worker_of(c)->conf->wait;
    return place(c);
}

// --- after it ---

// The contents of files that the session no longer has.
static void drop_others(struct lt_record *r, const struct file_set *set) {
    for (unsigned i = r->n_contents; i > 0; i--) {
        struct lt_span name = r->contents[i - 1].name;
        bool kept = !lt_span_starts(name, LT_S("files:"));
        for (unsigned j = 0; j < set->n; j++)
            kept = kept || lt_span_eq(lt_span(name.p + 6, name.n - 6), lt_span_cstr(set->names[j]));
        if (!kept)
            lt_record_drop_content(r, name);
    }
}

// FILE_MISSING: there is no file (any more).
static enum file_result take_one(struct lt_call *c, struct lt_record *record, const char *name, struct file_mark *mark,
                                 const char **why) {
    char text[FILES_CONTENT_MAX];
    struct lt_span content_name = files_content_name(name, text);
    struct lt_buf bytes;
    lt_buf_init(&bytes, (size_t)worker_of(c)->conf->max_size);
    enum file_result r = file_take(&worker_of(c)->dir, name, &bytes, mark, why);
    bool before = record->changed;
    record->changed = false;
    if (r == FILE_OK && !lt_record_set_content(record, content_name, lt_buf_span(&bytes)))
        r = FILE_FAILED;
    if (record->changed) // not what lethe has put there itself: the application is at work in this directory
        lt_metric_add(c->metrics, M_CHANGED, 1);
    record->changed = record->changed || before;
    if (r == FILE_MISSING)
        lt_record_drop_content(record, content_name);
    if (r == FILE_OK)
        lt_metric_add(c->metrics, M_TAKEN, 1);
    lt_buf_fini(&bytes);
    return r;
}

// Has the write that must come after every request not come yet?
static bool is_unsettled(struct lt_call *c, const char *name) {
    struct files_call *st = c->state;
    struct file_mark now;
    const struct placed *p = placed_of(st, name);
    if (!file_look(&worker_of(c)->dir, name, &now))
        return p == NULL; // a new session that is not there yet, or one that was destroyed
    return p && file_mark_eq(&now, &p->mark);
}

// Nothing came: what there is counts. A write that comes later still is brought in behind the answer.
static void note_unsettled(struct lt_call *c) {
    lt_metric_add(c->metrics, M_UNSETTLED, 1);
    LT_LOG(LT_LOG_INFO, "session_file_unsettled", lt_f("id", lt_call_id(c)),
           lt_fs("why", "the application did not write its session after this request"),
           lt_fs("do", "see the stack's page in docs/stacks: is PersistentValve there for this path?"));
}

// Waits for what must come. LT_NEXT: it has, or patience has ended.
static enum lt_verdict settle(struct lt_call *c, const struct file_set *set, lt_hook_fn *hook) {
    struct files_call *st = c->state;
    for (unsigned i = 0; i < set->n; i++) {
        if (!set->expected[i] || !is_unsettled(c, set->names[i]))
            continue;
        if (lt_clock_mono() < st->settle)
            return look_again(c, set->names[i], hook);
        note_unsettled(c);
    }
    return LT_NEXT;
}

struct taken {
    unsigned placed, there; // of the main files: how many were placed before the request, how many are there now
};

static enum lt_verdict take_set(struct lt_call *c, struct lt_record *record, lt_hook_fn *hook, struct taken *taken) {
    struct files_call *st = c->state;
    struct file_set set;
    struct file_mark mark;
    const char *why = "";
    *taken = (struct taken){0};
    if (!set_of(c, record, &set))
        return lt_call_fail(c, 503, "memory");
    enum lt_verdict v = settle(c, &set, hook);
    if (v != LT_NEXT)
        return v;
    for (unsigned i = 0; i < set.n; i++) {
        enum file_result r = take_one(c, record, set.names[i], &mark, &why);
        if (r != FILE_OK && r != FILE_MISSING)
            return trouble(c, r, set.names[i], why, hook);
        taken->placed += set.main[i] && placed_of(st, set.names[i]);
        taken->there += set.main[i] && r == FILE_OK;
        if (r == FILE_OK && record == lt_call_session(c)->record)
            late_watch(worker_of(c), lt_call_session(c), set.names[i], &mark, lt_call_request(c)->path);
    }
    drop_others(record, &set);
    return LT_NEXT;
}

static enum lt_verdict take_both(struct lt_call *c) {
    struct files_call *st = c->state;
    struct lt_session *s = lt_call_session(c);
    struct taken taken;
    enum lt_verdict v;
    if (s->previous && !st->previous_done) {
        v = take_set(c, s->previous, take_both, &taken);
        if (v != LT_NEXT)
            return v;
        st->previous_done = true;
        if (st->absent) // the application did not know its own id, and has given another
            lt_lost_add("missing_file", lt_call_request(c)->path);
    }
    v = take_set(c, s->record, take_both, &taken);
    if (v != LT_NEXT)
        return v;
    if (taken.placed && !taken.there) {
        // It was there when the request began, and not old: the application has destroyed the session, no cleaner.
        s->ended = true;
        lt_metric_add(c->metrics, M_REMOVED, 1);
    } else if (!taken.there) {
        lt_metric_add(c->metrics, M_ABSENT, 1);
    }
    return LT_NEXT;
}

// The application has broken off: what it left in the files may be torn.
static void disown(struct lt_call *c) {
    struct files_call *st = c->state;
    for (unsigned i = 0; i < st->n_placed; i++)
        file_disown(&worker_of(c)->dir, st->placed[i].name);
}

enum lt_verdict files_on_end(struct lt_call *c) {
    struct files_call *st = c->state;
    struct lt_session *s = lt_call_session(c);
    if (!lt_call_answered(c))
        disown(c);
    if (!s || !s->record || s->settled || s->ended || !lt_call_answered(c))
        return LT_NEXT;
    st->give_up = lt_clock_mono() + worker_of(c)->conf->wait;
    st->settle = lt_clock_mono() + worker_of(c)->conf->settle;
    return take_both(c);
}

static bool sets_its_cookie(struct lt_call *c) {
    const struct lt_headers *fields = &lt_call_response(c)->headers;
    struct lt_set_cookie cookie;
    for (struct lt_header *f = NULL; (f = lt_headers_next(fields, LT_HDR_SET_COOKIE, f));)
        if (lt_set_cookie_parse(f->value, &cookie) && lt_span_eq(cookie.name, worker_of(c)->cookie))
            return true;
    return false;
}

// The head is in. An application that has closed its session by now is done with it (session_write_close(), or its script has ended): it is
// stored at once, the next request need not wait for the rest of a long answer. One that opens it once more is watched, as behind the end.
enum lt_verdict files_on_response(struct lt_call *c) {
    struct lt_session *s = lt_call_session(c);
    struct file_set set;
    struct file_mark mark;
    const char *why;
    bool lasts = lt_framing_lasts(lt_call_response(c));
    if (!s || !(worker_of(c)->holds || lasts) || sets_its_cookie(c) || !set_of(c, s->record, &set))
        return LT_NEXT;
    s->settled = true;
    for (unsigned i = 0; i < set.n && s->settled; i++) {
        enum file_result r = take_one(c, s->record, set.names[i], &mark, &why);
        s->settled = r == FILE_OK || (r == FILE_MISSING && lasts);
        if (r == FILE_OK)
            late_watch(worker_of(c), s, set.names[i], &mark, lt_call_request(c)->path);
    }
    return LT_NEXT;
}

void files_on_done(struct lt_call *c) {
    struct files_call *st = c->state;
    if (st && st->call)
        stop_waiting(st);
}
