// SPDX-License-Identifier: Apache-2.0
// What stands around an exchange: options, loop, clock, metrics, log.
#include "rig_worker.h"

#include "base/clock.h"
#include "rig.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

enum { LOG_MAX = 1 << 16, FLAGS_MAX = 64, WAIT_S = 10 };

static const int64_t first_mono = 1000000, first_wall = INT64_C(1700000000000);

struct lt_process_view rig_process = {.workers = 1, .started = true};

void rig_die(const char *format, ...) {
    va_list args;
    fputs("rig: ", stderr);
    va_start(args, format);
    vfprintf(stderr, format, args);
    va_end(args);
    fputc('\n', stderr);
    abort();
}

// --- options ---

// Those of the top level that modules ask for by lt_config_text(); the proxy's own rows are in a layer that is not linked here.
struct top_conf {
    struct lt_span upstream, store, keys;
};

static const struct lt_option top_options[] = {
    {.name = "upstream", .type = LT_OPT_STRING, .offset = offsetof(struct top_conf, upstream), .fallback = "127.0.0.1:1"},
    {.name = "store", .type = LT_OPT_STRING, .offset = offsetof(struct top_conf, store), .fallback = ""},
    {.name = "keys", .type = LT_OPT_STRING, .offset = offsetof(struct top_conf, keys), .fallback = ""},
};

static struct lt_option_group groups[2] = {
    {"", top_options, sizeof top_options / sizeof *top_options, sizeof(struct top_conf), NULL}};

static bool load(const struct rig_setup *setup, struct lt_config *config, struct lt_diag *diag) {
    const struct lt_module *m = setup->module;
    unsigned n = 0;
    char *flags[FLAGS_MAX];
    for (; setup->flags && setup->flags[n]; n++) {
        if (n == FLAGS_MAX)
            rig_die("more than %d flags", FLAGS_MAX);
        flags[n] = (char *)(uintptr_t)setup->flags[n]; // like main()'s argv, which nobody writes to either
    }
    groups[1] = m->options;
    const struct lt_config_input in = {.flags = flags, .n_flags = n};
    bool ok = lt_config_load(config, groups, m->options.prefix ? 2 : 1, &in, diag);
    unsigned before = diag->n;
    if (ok && m->check)
        m->check(config, diag);
    return ok && diag->n == before;
}

static void print_findings(const struct lt_diag *diag, char *out, size_t size) {
    size_t n = 0;
    *out = '\0';
    for (const struct lt_finding *f = diag->first; f && n < size; f = f->next)
        n += (size_t)snprintf(out + n, size - n, "%s%.*s", n ? "\n" : "", (int)f->text.n, f->text.p);
}

const char *rig_findings(const struct rig_setup *setup) {
    static char text[8192];
    struct lt_config config;
    struct lt_arena arena;
    struct lt_diag diag;
    lt_arena_init(&arena, 1 << 20);
    lt_diag_init(&diag, &arena);
    bool ok = load(setup, &config, &diag);
    print_findings(&diag, text, sizeof text);
    if (ok == (*text != '\0'))
        rig_die("findings without a failure, or a failure without a finding");
    lt_config_fini(&config);
    lt_arena_fini(&arena);
    return text;
}

static void load_or_die(struct rig *r, const struct rig_setup *setup) {
    const char *findings = rig_findings(setup);
    struct lt_arena arena;
    struct lt_diag diag;
    if (*findings)
        rig_die("%s", findings);
    lt_arena_init(&arena, 1 << 20);
    lt_diag_init(&diag, &arena);
    if (!load(setup, &r->config, &diag))
        rig_die("the same options are wrong now");
    lt_arena_fini(&arena);
}

// --- the worker ---

struct rig *rig_new(const struct rig_setup *setup) {
    const struct lt_module *m = setup->module;
    struct rig *r = calloc(1, sizeof *r);
    lt_clock_set(first_mono, first_wall);
    if (!r || lt_loop_init(&r->loop) != LT_OK || !lt_metrics_init(&r->metrics, m->metrics, m->n_metrics))
        rig_die("no memory");
    load_or_die(r, setup);
    r->module = m;
    r->conf = m->options.prefix ? lt_config_group(&r->config, m->options.prefix) : NULL;
    r->enabled = !m->enabled || m->enabled(r->conf);
    r->worker = calloc(1, m->worker_size + 1);
    r->services = (struct lt_services){.loop = &r->loop,
                                       .config = &r->config,
                                       .exclusive = setup->exclusive,
                                       .carriers = setup->exclusive,
                                       .role = setup->role,
                                       .upstream = lt_config_text(&r->config, "upstream"),
                                       .metrics = &r->metrics,
                                       .generation = (struct lt_generation *)(void *)r};
    bool ok = r->worker && (!m->worker_init || m->worker_init(r->worker, r->conf, &r->services));
    if (ok)
        return r;
    r->module = NULL; // what was not initialised is not torn down
    rig_free(r);
    return NULL;
}

void rig_free(struct rig *r) {
    if (r->exchanges)
        rig_die("rig_free(): %u exchanges were not freed", r->exchanges);
    rig_turn(r);
    if (r->held)
        rig_die("rig_free(): the services are still held %u times", r->held);
    if (r->module && r->module->worker_fini)
        r->module->worker_fini(r->worker);
    lt_loop_settle(&r->loop);
    if (r->loop.timers)
        rig_die("rig_free(): %u timers still stand", r->loop.timers);
    lt_loop_fini(&r->loop);
    lt_metrics_fini(&r->metrics);
    lt_config_fini(&r->config);
    free(r->worker);
    free(r);
    lt_clock_set(-1, -1);
}

void lt_services_hold(const struct lt_services *s) {
    ((struct rig *)(void *)s->generation)->held++;
}

void lt_services_drop(const struct lt_services *s) {
    struct rig *r = (struct rig *)(void *)s->generation;
    if (r->held == 0)
        rig_die("lt_services_drop() without lt_services_hold()");
    r->held--;
}

void lt_process_look(struct lt_process_view *view) {
    *view = rig_process;
}

// --- time ---

// The alarm is libevent's, which knows only the real time: with the clock held, it is rung by hand.
void rig_turn(struct rig *r) {
    for (;;) {
        event_active(r->loop.alarm, EV_TIMEOUT, 1);
        event_base_loop(r->loop.base, EVLOOP_NONBLOCK);
        if (lt_list_empty(&r->loop.tasks))
            return;
        lt_loop_settle(&r->loop);
    }
}

// When the first timer fires: a tick's beginning. INT64_MAX: there is none.
static int64_t next_timer(const struct rig *r) {
    int64_t first = INT64_MAX;
    for (unsigned i = 0; i < LT_WHEEL_SLOTS; i++)
        for (const struct lt_list *node = r->loop.wheel[i].next; node != &r->loop.wheel[i]; node = node->next) {
            int64_t at = LT_ENTRY(node, struct lt_timer, node)->tick * LT_WHEEL_TICK_MS;
            first = at < first ? at : first;
        }
    return first;
}

void rig_advance(struct rig *r, int64_t ms) {
    int64_t mono = lt_clock_mono(), offset = lt_clock_wall() - mono, until = mono + ms;
    rig_turn(r);
    for (int64_t at; (at = next_timer(r)) <= until;) {
        lt_clock_set(at, at + offset);
        rig_turn(r);
    }
    lt_clock_set(until, until + offset);
    rig_turn(r);
}

static void on_guard(evutil_socket_t fd, short what, void *arg) {
    (void)fd;
    (void)what;
    *(bool *)arg = true;
}

bool rig_wait(struct rig_exchange *x) {
    struct lt_loop *l = &x->rig->loop;
    bool late = false;
    struct timeval limit = {.tv_sec = WAIT_S};
    struct event *guard = event_new(l->base, -1, 0, on_guard, &late);
    if (!guard || event_add(guard, &limit) != 0)
        rig_die("no memory");
    lt_loop_settle(l);
    while (x->verdict == LT_WAIT && !late) {
        event_base_loop(l->base, EVLOOP_ONCE);
        lt_loop_settle(l);
    }
    event_free(guard);
    return x->verdict != LT_WAIT;
}

// --- metrics and log ---

int64_t rig_metric(const struct rig *r, const char *name, const char *labels) {
    for (unsigned i = 0; i < r->metrics.n; i++) {
        const struct lt_metric *row = &r->metrics.rows[i];
        bool same = !labels || !row->labels ? labels == row->labels : strcmp(labels, row->labels) == 0;
        if (same && strcmp(row->name, name) == 0 && row->kind != LT_HISTOGRAM)
            return (int64_t)atomic_load(&r->metrics.slots[r->metrics.first[i]]);
    }
    rig_die("no counter or gauge %s{%s}", name, labels ? labels : "");
}

static int log_fd = -1, stderr_fd = -1;

void rig_log_begin(void) {
    log_fd = memfd_create("log", MFD_CLOEXEC);
    stderr_fd = dup(STDERR_FILENO);
    if (log_fd < 0 || stderr_fd < 0 || dup2(log_fd, STDERR_FILENO) < 0)
        rig_die("cannot keep the log");
}

const char *rig_log_end(void) {
    static char text[LOG_MAX];
    ssize_t n = log_fd < 0 ? -1 : pread(log_fd, text, sizeof text - 1, 0);
    if (n < 0 || dup2(stderr_fd, STDERR_FILENO) < 0)
        rig_die("no rig_log_begin() before rig_log_end()");
    text[n] = '\0';
    close(log_fd);
    close(stderr_fd);
    log_fd = stderr_fd = -1;
    return text;
}
