// SPDX-License-Identifier: Apache-2.0
#include "report.h"

#include "base/clock.h"
#include "process.h"
#include "reason.h"
#include "worker.h"

enum { ARENA_MAX = 1 << 20, WORKERS_MAX = 256 + 8, STANDS_STILL_MS = 6000, FAILS_NOW_MS = 15000 };

static const struct {
    const char *id, *title;
    const char *evidence, *remedy; // while nobody watches it
} requirements[LT_REQUIREMENTS] = {
    [LT_REQ_MEMORY] = {"memory", "No session lives only in one instance's memory or disk",
                       "not watched: no module has looked at sessions", "see docs/README.md for the application's stack"},
    [LT_REQ_STICKY] = {"sticky", "No sticky sessions", "not watched: sticky.enabled is false",
                       "remove sticky.enabled = false"},
    [LT_REQ_STORE] = {"store", "Sessions are in a store with an end, in a JWT or in an encrypted cookie",
                      "not watched: no module has looked at sessions", "set the option \"store\""},
    [LT_REQ_FILES] =
        {"files", "No files are kept on the container's disk",
         "not watched: lethe does not see what the application writes to its disk",
         "run the container with a read-only root file system (readOnlyRootFilesystem: true): what it writes "
         "then fails where it can be seen. Uploads belong in object storage"},
    [LT_REQ_JOBS] = {"jobs", "No job queue lives in memory",
                     "not watched: lethe does not see what the application does behind its answers",
                     "look for work that outlives its request (threads, timers, in-process queues) and give it to a "
                     "broker"},
    [LT_REQ_HEALTH] = {"health", "Health checks look at the process itself, never at external dependencies",
                       "not watched: no probe has come to lethe yet",
                       "point the orchestrator's probes to /livez, /readyz and /startupz on lethe's admin listener"},
    [LT_REQ_ORDER] = {"order", "No start order is needed", NULL, NULL},
    [LT_REQ_SCALING] = {"scaling", "Replicas can be added and taken away", NULL, NULL},
};

static const char *const verdict_names[] = {"kept", "unknown", "broken"};
static const char *const condition_names[] = {"well", "attention", "failing", "draining"};

const char *lt_requirement_id(enum lt_requirement r) {
    return requirements[r].id;
}

const char *lt_requirement_title(enum lt_requirement r) {
    return requirements[r].title;
}

const char *lt_verdict_name(enum lt_verdict_on v) {
    return verdict_names[v];
}

const char *lt_condition_name(enum lt_condition c) {
    return condition_names[c];
}

// --- asking ---

// The module's rows of all workers, into `all`; returns how many.
static unsigned rows_of(unsigned index, struct lt_metrics *all[WORKERS_MAX]) {
    unsigned n, n_sides, k = 0;
    struct lt_worker *workers = lt_process_workers(&n), *sides = lt_process_sides(&n_sides);
    for (unsigned i = 0; i < n; i++)
        all[k++] = &workers[i].module_metrics[index];
    for (unsigned i = 0; i < n_sides; i++)
        all[k++] = &sides[i].module_metrics[index];
    return k;
}

static unsigned core_rows(struct lt_metrics *all[WORKERS_MAX]) {
    unsigned n;
    struct lt_worker *workers = lt_process_workers(&n);
    for (unsigned i = 0; i < n; i++)
        all[i] = &workers[i].core_metrics;
    return n;
}

static void select_module(struct lt_exam *e, const struct lt_module *m) {
    e->module = m->name;
    e->conf = m->options.prefix ? lt_config_group(e->config, m->options.prefix) : NULL;
    e->used = !m->enabled || m->enabled(e->conf);
}

static void ask_modules(struct lt_exam *e, const struct lt_snapshot *s, struct lt_metrics *all[WORKERS_MAX]) {
    for (unsigned i = 0; i < s->n_modules; i++) {
        select_module(e, s->modules[i]);
        e->carriers = e->carriers || (s->modules[i]->phase == LT_PHASE_CARRIER && e->used);
    }
    for (unsigned i = 0; i < s->n_modules; i++) {
        const struct lt_module *m = s->modules[i];
        if (!m->examine)
            continue;
        select_module(e, m);
        e->n_all = rows_of(i, all);
        lt_exam_header(e, e->used || m->on_admin ? m->summary : "not in use");
        m->examine(e);
    }
}

// What the core itself counts.
static void examine_core(struct lt_exam *e, struct lt_metrics *all[WORKERS_MAX]) {
    static const char *const outcomes[] = {"ok", "local", "rejected", "upstream_failed", "store_failed", "aborted"};
    e->module = "proxy";
    e->n_all = core_rows(all);
    for (unsigned i = LT_M_OK; i <= LT_M_ABORTED; i++) {
        uint64_t n = lt_exam_total(e, i);
        e->requests += n;
        lt_exam_number(e, "traffic", outcomes[i - LT_M_OK], n);
    }
    lt_exam_number(e, "traffic", "requests", e->requests);
    lt_exam_number(e, "traffic", "client_connections", lt_exam_total(e, LT_M_CLIENTS));
    lt_exam_number(e, "traffic", "upstream_active", lt_exam_total(e, LT_M_UPSTREAM_ACTIVE));
    lt_exam_number(e, "traffic", "upstream_idle", lt_exam_total(e, LT_M_UPSTREAM_IDLE));
    lt_exam_number(e, "traffic", "upstream_retries", lt_exam_total(e, LT_M_UPSTREAM_RETRIES));
    lt_exam_number(e, "traffic", "buffer_bytes", lt_exam_total(e, LT_M_BUFFERS));
    lt_exam_times(e, "latency", "request", LT_M_REQUEST_SECONDS);
    bool reached =
        lt_exam_total(e, LT_M_OK) || lt_exam_total(e, LT_M_UPSTREAM_ACTIVE) || lt_exam_total(e, LT_M_UPSTREAM_IDLE);
    if (reached)
        lt_exam_kept(e, LT_REQ_ORDER,
                     "lethe listened before it had asked for the application or the store, and the application has "
                     "answered since; whether the application itself insists on an order is not watched");
    else
        lt_exam_unsure(e, LT_REQ_ORDER, "start the application beside this lethe, at any time: lethe waits for it",
                       "lethe itself waits for nothing, but no answer of the application has been seen yet");
}

// --- judging ---

static const char *join(struct lt_report *r, const char *a, const char *mark, const char *b) {
    struct lt_span both = lt_arena_printf(&r->arena, "%s%s%s", a, mark, b);
    r->exam.full = r->exam.full || !both.p;
    return both.p ? both.p : a;
}

static const char *seen(struct lt_report *r, const struct lt_exam_entry *e) {
    if (!e->found.route)
        return e->text;
    struct lt_span text = lt_arena_printf(&r->arena, "%s, on %s", e->text, e->found.route);
    return text.p ? text.p : e->text;
}

// What was said of one route already names the next one only.
static const char *and_also(struct lt_report *r, const char *evidence, const char *last, const struct lt_exam_entry *e) {
    if (!last || !e->found.route || strcmp(last, e->text) != 0)
        return join(r, evidence, "; ", seen(r, e));
    return join(r, evidence, ", ", e->found.route);
}

static enum lt_verdict_on verdict_of(enum lt_exam_kind kind) {
    return kind == LT_EXAM_FINDING ? LT_BROKEN : kind == LT_EXAM_UNSURE ? LT_UNKNOWN : LT_KEPT;
}

// The worst that was said counts, and all who said it are its evidence.
static void weigh(struct lt_report *r, struct lt_judgement *j, bool *heard, const char **last,
                  const struct lt_exam_entry *e) {
    enum lt_verdict_on verdict = verdict_of(e->kind);
    if (*heard && verdict < j->verdict)
        return;
    bool more = *heard && verdict == j->verdict;
    const char *remedy = e->found.remedy ? e->found.remedy : "";
    j->evidence = more ? and_also(r, j->evidence, *last, e) : seen(r, e);
    j->remedy = more && *j->remedy ? j->remedy : remedy; // one thing at a time: the findings have all of them
    j->verdict = verdict;
    *heard = true;
    *last = e->text;
}

// `heard`: there is a judgement already, from which it goes on.
static void judge(struct lt_report *r, enum lt_requirement of, bool heard) {
    struct lt_judgement *j = &r->requirements[of];
    const char *last = NULL;
    if (!heard)
        *j = (struct lt_judgement){
            .verdict = LT_UNKNOWN, .evidence = requirements[of].evidence, .remedy = requirements[of].remedy};
    for (const struct lt_exam_entry *e = r->exam.first; e; e = e->next) {
        bool says = e->kind == LT_EXAM_FINDING || e->kind == LT_EXAM_KEPT || e->kind == LT_EXAM_UNSURE;
        if (says && e->found.breaks == of)
            weigh(r, j, &heard, &last, e);
    }
}

// One replica sees only itself: that any other could take over follows from what ties nobody to this one.
static void judge_scaling(struct lt_report *r) {
    static const enum lt_requirement needs[] = {LT_REQ_MEMORY, LT_REQ_STICKY, LT_REQ_STORE};
    struct lt_judgement *j = &r->requirements[LT_REQ_SCALING];
    *j = (struct lt_judgement){
        .verdict = LT_KEPT,
        .evidence =
            "nothing that was seen ties a client to this replica: sessions are carried, the store is shared, no "
            "balancer sticks, and a drain lets running requests end",
        .remedy = "",
    };
    for (unsigned i = 0; i < sizeof needs / sizeof *needs; i++) {
        const struct lt_judgement *need = &r->requirements[needs[i]];
        if (need->verdict <= j->verdict)
            continue;
        struct lt_span text = lt_arena_printf(&r->arena, "follows from \"%s\", which is %s",
                                              requirements[needs[i]].title, verdict_names[need->verdict]);
        *j = (struct lt_judgement){.verdict = need->verdict, .evidence = text.p ? text.p : "", .remedy = need->remedy};
    }
}

static void say(struct lt_report *r, enum lt_condition condition, const char *says, const char *advice) {
    r->condition = condition;
    r->says = says;
    r->advice = advice ? advice : "";
}

// The finding to begin with: one that hurts now, else the first that breaks a requirement, else the first.
static const struct lt_exam_entry *worst_finding(const struct lt_report *r) {
    const struct lt_exam_entry *worst = NULL;
    unsigned most = 0;
    for (const struct lt_exam_entry *e = r->exam.first; e; e = e->next) {
        unsigned weight = e->kind != LT_EXAM_FINDING ? 0 : e->found.urgent ? 3 : e->found.breaks ? 2 : 1;
        if (weight > most) {
            most = weight;
            worst = e;
        }
    }
    return worst;
}

// What began to fail less than this ago fails now.
static const struct lt_log_row *failing_now(struct lt_log_row rows[LT_LOG_ROWS]) {
    unsigned n = lt_log_recent(rows);
    for (unsigned i = 0; i < n; i++)
        if (strcmp(rows[i].event, "request_failed") == 0)
            return lt_clock_wall() - rows[i].time < FAILS_NOW_MS ? &rows[i] : NULL;
    return NULL;
}

static bool say_failing(struct lt_report *r) {
    struct lt_log_row rows[LT_LOG_ROWS];
    const struct lt_log_row *row = failing_now(rows);
    if (!row)
        return false;
    const struct lt_reason *reason = lt_reason_find(row->why);
    struct lt_span text =
        lt_arena_printf(&r->arena, "Requests fail at this moment: %s.", reason ? reason->says : row->why);
    say(r, LT_FAILING, text.p ? text.p : "Requests fail at this moment.",
        reason ? reason->advice : "see the recent errors");
    return true;
}

static void say_findings(struct lt_report *r, const struct lt_exam_entry *worst) {
    struct lt_span text =
        lt_arena_printf(&r->arena, "This replica serves, but %u %s wrong. To begin with: %s.", r->exam.findings,
                        r->exam.findings == 1 ? "thing is" : "things are", worst->text);
    say(r, LT_ATTENTION, text.p ? text.p : worst->text, worst->found.remedy);
}

static void conclude(struct lt_report *r) {
    const struct lt_exam_entry *worst = worst_finding(r);
    if (r->process.draining)
        say(r, LT_DRAINING,
            "This replica is draining: it takes no new work and ends when its running requests have ended.",
            "nothing: the other replicas serve");
    else if (r->process.oldest_heartbeat > STANDS_STILL_MS)
        say(r, LT_FAILING, "A worker of this replica stands still: the clients on it wait.",
            "let the orchestrator replace this replica (/livez fails); keep its log");
    else if (worst && worst->found.urgent)
        say(r, LT_FAILING, worst->text, worst->found.remedy);
    else if (say_failing(r))
        return;
    else if (worst)
        say_findings(r, worst);
    else
        say(r, LT_WELL, "This replica is well: nothing wrong was seen.", "nothing");
}

bool lt_report_make(struct lt_report *r) {
    unsigned n_sides;
    struct lt_worker *sides = lt_process_sides(&n_sides);
    const struct lt_snapshot *s = n_sides ? sides[0].generation->snapshot : NULL; // the admin's own: we run there
    struct lt_metrics *all[WORKERS_MAX];
    *r = (struct lt_report){.condition = LT_WELL};
    lt_arena_init(&r->arena, ARENA_MAX);
    lt_exam_init(&r->exam, &r->arena);
    lt_process_look(&r->process);
    if (!s)
        return false;
    r->exam.all = all;
    r->exam.config = &s->config;
    examine_core(&r->exam, all);
    ask_modules(&r->exam, s, all);
    r->exam.all = NULL;
    for (unsigned i = 1; i < LT_REQ_SCALING; i++)
        judge(r, (enum lt_requirement)i, false);
    judge_scaling(r);
    judge(r, LT_REQ_SCALING, true);
    conclude(r);
    return !r->exam.full;
}

void lt_report_fini(struct lt_report *r) {
    lt_arena_fini(&r->arena);
}
