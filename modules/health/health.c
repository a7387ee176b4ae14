// SPDX-License-Identifier: Apache-2.0
#include "modules/health/health.h"

#include "base/clock.h"
#include "http/probe_path.h"
#include "modules/health/app.h"
#include "modules/health/cgroup.h"

#include <stdarg.h>
#include <stdio.h>

// A worker shows itself once a second: it was not silent before that.
enum { REPORT_MAX = 4096, HEARTBEAT_GRACE = 1000 };

struct health_conf {
    struct lt_option_list paths;
    int64_t memory_limit, cpu_limit, pressure_limit, heartbeat;
    bool app;
};

struct health_worker {
    const struct lt_services *services;
    struct cgroup group;
    struct app_check app;
};

enum { PASSED, FAILED, RESULTS }; // a metric's row is probe * RESULTS + result

struct health_call {
    enum lt_probe probe;
    struct lt_call *call;
    struct app_wait wait;
};

// --- the checks ---

struct report {
    char text[REPORT_MAX];
    size_t n;
    bool failed, verbose;
};

static void note(struct report *r, bool ok, const char *format, ...) __attribute__((format(printf, 3, 4)));

static void note(struct report *r, bool ok, const char *format, ...) {
    va_list args;
    r->failed = r->failed || !ok;
    if ((ok && !r->verbose) || sizeof r->text - r->n < 256)
        return;
    r->n += (size_t)snprintf(r->text + r->n, 16, "%s ", ok ? "[ok]" : "[failed]");
    va_start(args, format);
    int n = vsnprintf(r->text + r->n, 200, format, args);
    va_end(args);
    r->n += n < 200 ? (size_t)n : 199;
    r->text[r->n++] = '\n';
}

// `used`: percent, -1: not known or without limit.
static void check_limit(struct report *r, const char *what, int used, int64_t limit, const char *option) {
    if (limit == 0)
        return;
    if (used < 0)
        note(r, true, "%s: no limit here", what);
    else
        note(r, used <= limit, "%s: %d %% (%s is %lld)", what, used, option, (long long)limit);
}

static void check_live(struct lt_call *c, struct report *r) {
    const struct health_conf *conf = c->conf;
    struct health_worker *w = c->worker;
    struct lt_process_view view;
    lt_process_look(&view);
    note(r, view.oldest_heartbeat <= conf->heartbeat + HEARTBEAT_GRACE,
         "workers: the slowest of %u was seen %lld ms ago (health.heartbeat)", view.workers,
         (long long)view.oldest_heartbeat);
    check_limit(r, "memory", cgroup_memory(&w->group), conf->memory_limit, "health.memory_limit");
    if (conf->cpu_limit)
        check_limit(r, "cpu", cgroup_cpu(&w->group, lt_clock_mono()), conf->cpu_limit, "health.cpu_limit");
    if (conf->pressure_limit)
        check_limit(r, "pressure", cgroup_pressure(&w->group), conf->pressure_limit, "health.pressure_limit");
}

static enum lt_verdict answer(struct lt_call *c) {
    static const struct lt_span verbose = {"?verbose", 8};
    struct health_call *st = c->state;
    const struct health_worker *w = c->worker;
    const struct health_conf *conf = c->conf;
    struct lt_span path = lt_call_request(c)->path;
    size_t query = lt_span_find(path, '?');
    struct report r = {.verbose = lt_span_starts(lt_span(path.p + query, path.n - query), verbose)};
    struct lt_process_view view;
    lt_process_look(&view);
    if (st->probe == LT_PROBE_STARTUPZ)
        note(&r, view.started, "listeners: %s", view.started ? "accept" : "do not accept yet");
    else
        check_live(c, &r);
    if (st->probe == LT_PROBE_READYZ)
        note(&r, !view.draining, "draining: %s", view.draining ? "yes, on its way out" : "no");
    if (st->probe == LT_PROBE_READYZ && conf->app)
        note(&r, w->app.ok, "app: %s %s", lt_target_text(w->app.target),
             w->app.ok ? "accepts connections" : "does not accept a connection");
    if (r.n == 0)
        r.n = (size_t)snprintf(r.text, sizeof r.text, "ok\n");
    lt_metric_add(c->metrics, st->probe * RESULTS + (r.failed ? FAILED : PASSED), 1);
    return lt_call_reply(c, r.failed ? 503 : 200, "text/plain; charset=utf-8", lt_span(r.text, r.n));
}

// --- hooks ---

static void on_app_known(struct app_wait *wait) {
    lt_call_resume(LT_ENTRY(wait, struct health_call, wait)->call);
}

static void leave_app(struct lt_call *c) {
    struct health_call *st = c->state;
    struct health_worker *w = c->worker;
    app_check_leave(&w->app, &st->wait);
}

// For /readyz: the application's own socket, and nothing behind it.
static enum lt_verdict ask_app(struct lt_call *c) {
    struct health_call *st = c->state;
    struct health_worker *w = c->worker;
    st->call = c;
    st->wait.done = on_app_known;
    return app_check_ask(&w->app, &st->wait) ? answer(c) : lt_call_wait(c, answer, leave_app);
}

static enum lt_verdict on_request(struct lt_call *c) {
    struct health_call *st = c->state;
    const struct health_conf *conf = c->conf;
    const struct lt_h1_head *request = lt_call_request(c);
    const struct health_worker *w = c->worker;
    st->probe = w->services->role == LT_ROLE_ADMIN ? lt_probe_by_name(request->path)
                                                   : lt_probe_by_entries(request->path, conf->paths.v, conf->paths.n);
    if (st->probe == LT_PROBE_NONE)
        return LT_NEXT;
    if (request->method != LT_METHOD_GET && request->method != LT_METHOD_HEAD)
        return lt_call_reply(c, 405, "text/plain; charset=utf-8", LT_S("write GET or HEAD\n"));
    return st->probe == LT_PROBE_READYZ && conf->app ? ask_app(c) : answer(c);
}

static bool enabled(const void *conf) {
    return ((const struct health_conf *)conf)->paths.n > 0;
}

static bool worker_init(void *worker, const void *conf, const struct lt_services *services) {
    struct health_worker *w = worker;
    (void)conf;
    w->services = services;
    cgroup_find(&w->group, "");
    if (app_check_init(&w->app, services->loop, services->upstream))
        return true;
    app_check_fini(&w->app);
    return false;
}

static void worker_fini(void *worker) {
    app_check_fini(&((struct health_worker *)worker)->app);
}

static const char *check_path(struct lt_span entry) {
    struct lt_span path;
    bool known = lt_probe_entry(entry, &path) != LT_PROBE_NONE;
    return path.n && path.p[0] == '/' && known
               ? NULL
               : "write \"/healthz=livez\" (livez, readyz or startupz), or a path that ends so";
}

#define PROBE(probe, result)                                                                                           \
    { "lethe_probes_total", "Probes answered by lethe.", LT_COUNTER, "probe=\"" probe "\",result=\"" result "\"" }

static const struct lt_metric metrics[] = {
    PROBE("livez", "ok"),      PROBE("livez", "failed"), PROBE("readyz", "ok"),
    PROBE("readyz", "failed"), PROBE("startupz", "ok"),  PROBE("startupz", "failed"),
};

static void examine(struct lt_exam *e) {
    unsigned long long answered = 0, failed = 0;
    for (unsigned p = 0; p < LT_PROBE_NONE; p++) {
        answered += lt_exam_total(e, p * RESULTS + PASSED) + lt_exam_total(e, p * RESULTS + FAILED);
        failed += lt_exam_total(e, p * RESULTS + FAILED);
    }
    if (answered)
        lt_exam_kept(e, LT_REQ_HEALTH,
                     "lethe answers probes from its own condition and the application's socket (%llu so far, %llu with "
                     "503); probes that go to the application itself are not watched",
                     answered, failed);
    lt_exam_number(e, "probes", "answered", answered);
    lt_exam_number(e, "probes", "failed", failed);
}

#define AT(field) offsetof(struct health_conf, field)

// One row an option.
// clang-format off
static const struct lt_option options[] = {
    {.name = "paths",
     .type = LT_OPT_LIST,
     .offset = AT(paths),
     .fallback = "",
     .max = 16,
     .unit = "paths",
     .check = check_path,
     .doc = "Probes to answer on the main listeners as well: `/livez`, or any path as `/healthz=livez`. The "
            "application does not see them."},
    {.name = "memory_limit",
     .type = LT_OPT_INT,
     .offset = AT(memory_limit),
     .fallback = "95",
     .max = 100,
     .unit = "percent",
     .doc = "Not live when the control group uses more than this share of its memory limit. 0: not looked at."},
    {.name = "cpu_limit",
     .type = LT_OPT_INT,
     .offset = AT(cpu_limit),
     .fallback = "0",
     .max = 100,
     .unit = "percent",
     .doc = "Not live when the control group used more than this share of its CPU quota since the last probe. 0: not "
            "looked at."},
    {.name = "pressure_limit",
     .type = LT_OPT_INT,
     .offset = AT(pressure_limit),
     .fallback = "0",
     .max = 100,
     .unit = "percent",
     .doc = "Not live when tasks waited for memory or CPU for more than this share of the last 10 s (PSI). 0: not "
            "looked at."},
    {.name = "heartbeat",
     .type = LT_OPT_DURATION,
     .offset = AT(heartbeat),
     .fallback = "5s",
     .min = 1000,
     .max = 3600 * 1000,
     .doc = "Not live when a worker's loop has stood still for longer."},
    {.name = "app",
     .type = LT_OPT_BOOL,
     .offset = AT(app),
     .fallback = "true",
     .doc = "`/readyz` also asks whether the application beside this lethe accepts a connection."},
};
// clang-format on

const struct lt_module lt_module_health = {
    .name = "health",
    .summary = "answers probes from the process's own condition, never from external dependencies",
    .phase = LT_PHASE_GATE,
    .options = {"health", options, sizeof options / sizeof *options, sizeof(struct health_conf), NULL},
    .worker_size = sizeof(struct health_worker),
    .metrics = metrics,
    .n_metrics = sizeof metrics / sizeof *metrics,
    .state_size = sizeof(struct health_call),
    .enabled = enabled,
    .on_admin = true,
    .worker_init = worker_init,
    .worker_fini = worker_fini,
    .on_request = on_request,
    .examine = examine,
};
