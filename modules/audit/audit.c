// SPDX-License-Identifier: Apache-2.0
// The traffic's side of the audit: nearest to the application, so that its answers are seen as they came.
#include "modules/audit/audit.h"

#include "base/clock.h"
#include "modules/audit/conf.h"
#include "modules/audit/findings.h"
#include "modules/audit/replica.h"
#include "modules/audit/under_way.h"
#include "modules/audit/watcher.h"

#include <stdio.h>

struct audit_worker {
    const struct lt_services *services;
    struct watcher *watcher; // NULL: another thread's
    const struct lt_option_list *cookies, *routes;
    bool sees_affinity; // what the sticky module takes out can be told from what the session module takes
    bool tracks;        // files are watched: which exchange wrote them?
    struct under_way_list under_way;
};

enum { COOKIES_MAX = 8 };

struct audit_call {
    struct under_way under_way;
    bool tracked;
    // Cookies of the answer that no session's are: the sticky module decides behind us. What the application sent may be gone by the end
    // of the exchange, the table of fields is not.
    struct {
        unsigned field;
        struct lt_span name; // in the arena
    } cookies[COOKIES_MAX];
    unsigned n_cookies;
    char route[LT_ROUTE];
};

// --- what answers hold ---

static void found(enum audit_kind kind, const char *route, struct lt_span cookie, const char *example) {
    char where[AUDIT_WHERE];
    snprintf(where, sizeof where, "%.*s", (int)cookie.n, cookie.p);
    audit_found(kind, route, where, example, 1);
}

static void look_at_id(struct lt_call *c, struct lt_span cookie, struct lt_span value) {
    const struct audit_worker *w = c->worker;
    char example[AUDIT_EXAMPLE], route[LT_ROUTE];
    struct replica_name name = replica_name_of(cookie, value, w->routes);
    if (name.route.n == 0)
        return;
    snprintf(example, sizeof example, "%.*s=<id>%c%.*s", (int)cookie.n, cookie.p, name.separator, (int)name.route.n,
             name.route.p); // never the id
    lt_route(lt_call_request(c)->path, route);
    found(AUDIT_REPLICA_ID, route, cookie, example);
}

// What else takes cookies out is the session module, and those have names.
static void note_cookie(struct lt_call *c, unsigned field, const struct lt_set_cookie *cookie) {
    const struct audit_worker *w = c->worker;
    struct audit_call *st = c->state;
    if (!w->sees_affinity || st->n_cookies == COOKIES_MAX || audit_names(w->cookies, cookie->name, false) ||
        lt_set_cookie_deletes(cookie, lt_clock_wall()))
        return;
    struct lt_span name = lt_arena_dup(lt_call_arena(c), cookie->name);
    if (!name.p)
        return;
    if (st->n_cookies == 0)
        lt_route(lt_call_request(c)->path, st->route);
    st->cookies[st->n_cookies].field = field;
    st->cookies[st->n_cookies++].name = name;
}

static enum lt_verdict on_response(struct lt_call *c) {
    const struct audit_worker *w = c->worker;
    const struct lt_headers *h = &lt_call_response(c)->headers;
    struct lt_set_cookie cookie;
    for (struct lt_header *f = NULL; (f = lt_headers_next(h, LT_HDR_SET_COOKIE, f));) {
        if (!lt_set_cookie_parse(f->value, &cookie))
            continue;
        if (audit_names(w->routes, cookie.name, true) || audit_names(w->cookies, cookie.name, true))
            look_at_id(c, cookie.name, cookie.value);
        note_cookie(c, (unsigned)(f - h->v), &cookie);
    }
    const struct lt_header *location = lt_headers_get(h, LT_HDR_LOCATION);
    if (location)
        look_at_id(c, LT_S("jsessionid"), replica_id_in_url(location->value));
    return LT_NEXT;
}

// The sticky module knows affinity cookies by product and value, and has taken them out by now.
static void look_at_affinity(struct lt_call *c) {
    const struct audit_call *st = c->state;
    char example[AUDIT_EXAMPLE];
    for (unsigned i = 0; i < st->n_cookies; i++) {
        struct lt_span name = st->cookies[i].name;
        if (!lt_call_response(c)->headers.v[st->cookies[i].field].dropped)
            continue;
        snprintf(example, sizeof example, "Set-Cookie: %.*s", (int)name.n, name.p);
        found(AUDIT_STICKY, st->route, name, example);
    }
}

// --- hooks ---

static bool is_local(struct lt_span listener) {
    return lt_span_starts(listener, LT_S("unix:")) || lt_span_starts(listener, LT_S("127.")) ||
           lt_span_starts(listener, LT_S("[::1]:")) || lt_span_starts(listener, LT_S("localhost:"));
}

// POST /audit/clear: whoever is on this machine has seen what there was.
static enum lt_verdict on_admin(struct lt_call *c) {
    const struct audit_worker *w = c->worker;
    const struct lt_h1_head *request = lt_call_request(c);
    if (!w->watcher || !lt_span_eq(request->path, LT_S("/audit/clear")) || request->method != LT_METHOD_POST)
        return LT_NEXT;
    if (!is_local(lt_config_text(w->services->config, "admin")))
        return lt_call_reply(
            c, 403, NULL, LT_S("let the admin listener stand on 127.0.0.1, or restart lethe: that clears as well\n"));
    audit_clear();
    LT_LOG(LT_LOG_WARN, "audit_cleared", lt_f("id", lt_call_id(c)));
    return lt_call_reply(c, 200, NULL, LT_S("cleared\n"));
}

static enum lt_verdict on_request(struct lt_call *c) {
    struct audit_worker *w = c->worker;
    struct audit_call *st = c->state;
    if (w->services->role == LT_ROLE_ADMIN)
        return on_admin(c);
    if (w->tracks) {
        under_way_begin(&w->under_way, &st->under_way, lt_call_request(c)->path);
        st->tracked = true;
    }
    return LT_NEXT;
}

static void on_done(struct lt_call *c) {
    struct audit_worker *w = c->worker;
    struct audit_call *st = c->state;
    if (!st)
        return;
    if (st->tracked)
        under_way_end(&w->under_way, &st->under_way);
    look_at_affinity(c);
}

// --- start and end ---

static bool enabled(const void *conf) {
    return ((const struct audit_conf *)conf)->enabled;
}

static bool has_star(const struct lt_option_list *names) { // a name that no prefix but the empty one fits
    return audit_names(names, LT_S("\x01"), true);
}

static bool sees_affinity(const struct lt_config *config) {
    return lt_config_bool(config, "sticky.enabled") && !has_star(lt_config_list(config, "session.cookies"));
}

static bool worker_init(void *worker, const void *conf, const struct lt_services *services) {
    struct audit_worker *w = worker;
    w->services = services;
    if (!enabled(conf))
        return true;
    if (!watcher_new(&w->watcher, conf, services))
        return false;
    w->cookies = lt_config_list(services->config, "session.cookies");
    w->routes = lt_config_list(services->config, "sticky.routes");
    w->sees_affinity = sees_affinity(services->config);
    w->tracks = ((const struct audit_conf *)conf)->paths.n && services->role == LT_ROLE_PROXY;
    if (w->tracks)
        under_way_init(&w->under_way);
    return true;
}

static void worker_fini(void *worker) {
    struct audit_worker *w = worker;
    watcher_free(w->watcher);
    if (w->tracks)
        under_way_fini(&w->under_way);
}

// --- the report ---

static const struct {
    enum lt_requirement breaks;
    const char *what, *remedy;
} words[AUDIT_KINDS] = {
    [AUDIT_DISK] = {LT_REQ_FILES, "files were written in",
                    "keep them where every replica finds them (an object store, a database), or "
                    "name in audit.allow what may be lost"},
    [AUDIT_STICKY] = {LT_REQ_STICKY, "the answer sets the affinity cookie",
                      "switch it off where it is set: in the application, or in what stands between it and lethe"},
    [AUDIT_REPLICA_ID] = {LT_REQ_STICKY, "the session id names the replica in the cookie",
                          "let the application make ids without a route (Tomcat: no jvmRoute), and balance without it"},
    [AUDIT_GROWTH] = {LT_REQ_FILES, "audit.max_growth was passed in",
                      "find what fills it (logs to standard output, caches with a limit), or raise audit.max_growth"},
};

static void tell(struct lt_exam *e, const struct audit_row *r) {
    const struct lt_found what = {.breaks = words[r->kind].breaks,
                                  .remedy = words[r->kind].remedy,
                                  .route = strcmp(r->route, "?") == 0 ? NULL : r->route,
                                  .example = r->example,
                                  .count = r->count};
    lt_exam_found(e, &what, "%s: %s %s", audit_kind_names[r->kind], words[r->kind].what, r->where);
}

static void examine(struct lt_exam *e) {
    struct audit_row rows[AUDIT_ROWS];
    if (!e->used)
        return;
    watcher_examine(e);
    if (!sees_affinity(e->config))
        lt_exam_note(e,
                     "affinity cookies in answers are not looked for: that needs sticky.enabled, and session.cookies "
                     "without \"*\"");
    unsigned n = audit_look(rows, AUDIT_ROWS);
    for (unsigned i = 0; i < n; i++)
        tell(e, &rows[i]);
    if (audit_count(AUDIT_LOST))
        lt_exam_note(e, "lost-session: %llu, as the session module tells", (unsigned long long)audit_count(AUDIT_LOST));
}

static void check(const struct lt_config *config, struct lt_diag *diag) {
    const struct audit_conf *conf = lt_config_group(config, "audit");
    if (conf->paths.n && !conf->enabled)
        lt_diag_add(diag, "audit.paths: nothing is looked at; write audit.enabled = true");
}

#define ROW(kind)                                                                                                      \
    {                                                                                                                  \
        "lethe_audit_found", "What the audit has found since the start or the last clear.", LT_GAUGE,                  \
            "finding=\"" kind "\""                                                                                     \
    }

// In the order of enum audit_kind; set by the watcher's thread alone.
static const struct lt_metric metrics[AUDIT_KINDS] = {ROW("disk"), ROW("sticky"), ROW("replica-id"),
                                                      ROW("lost-session"), ROW("growth")};

const struct lt_module lt_module_audit = {
    .name = "audit",
    .summary = "looks for state outside the sessions: files, affinity, ids that name replicas, growth",
    .phase = LT_PHASE_BODY,
    .options = {"audit", audit_options, AUDIT_OPTIONS, sizeof(struct audit_conf), NULL},
    .metrics = metrics,
    .n_metrics = AUDIT_KINDS,
    .worker_size = sizeof(struct audit_worker),
    .state_size = sizeof(struct audit_call),
    .check = check,
    .enabled = enabled,
    .on_admin = true,
    .worker_init = worker_init,
    .worker_fini = worker_fini,
    .on_request = on_request,
    .on_response = on_response,
    .on_done = on_done,
    .examine = examine,
};
