// SPDX-License-Identifier: Apache-2.0
#include "worker.h"

#include "base/clock.h"
#include "exchange.h"
#include "listener.h"
#include "net/pipe.h"
#include "process.h"
#include "upstream.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>
#include <unistd.h>

enum { HEARTBEAT_MS = 1000, ACCESS_MAX = 1 << 20, MIN_BLOCK = 16 << 10 };

#define REQUESTS(outcome)                                                                                              \
    { "lethe_requests_total", "Exchanges by outcome.", LT_COUNTER, "outcome=\"" outcome "\"" }
#define HANDSHAKES(how)                                                                                                   \
    {                                                                                                                     \
        "lethe_tls_handshakes_total", "TLS handshakes with clients, by how they ended.", LT_COUNTER, "result=\"" how "\"" \
    }
#define REJECTS(reason)                                                                                                \
    { "lethe_rejects_total", "Requests refused by lethe, by reason.", LT_COUNTER, "reason=\"" reason "\"" }

const struct lt_metric lt_core_metrics[LT_M_CORE_COUNT] = {
    [LT_M_OK] = REQUESTS("ok"),
    [LT_M_LOCAL] = REQUESTS("local"),
    [LT_M_REJECTED] = REQUESTS("rejected"),
    [LT_M_UPSTREAM_FAILED] = REQUESTS("upstream_failed"),
    [LT_M_STORE_FAILED] = REQUESTS("store_failed"),
    [LT_M_ABORTED] = REQUESTS("aborted"),
    [LT_M_REQUEST_SECONDS] = {"lethe_request_seconds", "From a request's first byte to the end of its answer.",
                              LT_HISTOGRAM, NULL},
    [LT_M_CLIENTS] = {"lethe_client_connections", "Open client connections.", LT_GAUGE, NULL},
    [LT_M_UPSTREAM_ACTIVE] = {"lethe_upstream_connections", "Connections to the application.", LT_GAUGE,
                              "state=\"active\""},
    [LT_M_UPSTREAM_IDLE] = {"lethe_upstream_connections", "Connections to the application.", LT_GAUGE, "state=\"idle\""},
    [LT_M_BUFFERS] = {"lethe_buffer_bytes", "Input buffers in use and kept.", LT_GAUGE, NULL},
    [LT_M_UPSTREAM_RETRIES] = {"lethe_upstream_retries_total",
                               "Idempotent requests sent again because an idle connection had been closed.", LT_COUNTER,
                               NULL},
    [LT_M_TLS_FULL] = HANDSHAKES("full"),
    [LT_M_TLS_RESUMED] = HANDSHAKES("resumed"),
    [LT_M_TLS_FAILED] = HANDSHAKES("failed"),
    [LT_M_REJECTS + LT_H1_OK] = REJECTS("none"),
    [LT_M_REJECTS + LT_H1_METHOD] = REJECTS("method"),
    [LT_M_REJECTS + LT_H1_TARGET] = REJECTS("target"),
    [LT_M_REJECTS + LT_H1_VERSION] = REJECTS("version"),
    [LT_M_REJECTS + LT_H1_STATUS_LINE] = REJECTS("status-line"),
    [LT_M_REJECTS + LT_H1_BARE_LF] = REJECTS("bare-lf"),
    [LT_M_REJECTS + LT_H1_BARE_CR] = REJECTS("bare-cr"),
    [LT_M_REJECTS + LT_H1_FIELD_NAME] = REJECTS("field-name"),
    [LT_M_REJECTS + LT_H1_FIELD_VALUE] = REJECTS("field-value"),
    [LT_M_REJECTS + LT_H1_FOLD] = REJECTS("fold"),
    [LT_M_REJECTS + LT_H1_TOO_MANY] = REJECTS("too-many"),
    [LT_M_REJECTS + LT_H1_TOO_LARGE] = REJECTS("too-large"),
    [LT_M_REJECTS + LT_H1_HOST] = REJECTS("host"),
    [LT_M_REJECTS + LT_H1_CONTENT_LENGTH] = REJECTS("content-length"),
    [LT_M_REJECTS + LT_H1_TRANSFER_ENCODING] = REJECTS("transfer-encoding"),
    [LT_M_REJECTS + LT_H1_CHUNK_SIZE] = REJECTS("chunk-size"),
    [LT_M_REJECTS + LT_H1_CHUNK_EXT] = REJECTS("chunk-ext"),
    [LT_M_REJECTS + LT_H1_CHUNK_END] = REJECTS("chunk-end"),
    [LT_M_REJECTS + LT_H1_TRAILER] = REJECTS("trailer"),
    [LT_M_REJECTS + LT_H1_EXPECT] = REJECTS("expect"),
    [LT_M_REJECTS + LT_H1_MEMORY] = REJECTS("memory"),
    [LT_M_REJECTS + LT_REJECT_METHOD] = REJECTS("connect"),
    [LT_M_REJECTS + LT_REJECT_HEAD_TIMEOUT] = REJECTS("head-timeout"),
    [LT_M_REJECTS + LT_REJECT_CONNECTIONS] = REJECTS("connections"),
    [LT_M_REJECTS + LT_REJECT_PROXY_HEADER] = REJECTS("proxy-header"),
    [LT_M_REJECTS + LT_REJECT_FLOOD] = REJECTS("flood"),
};

struct lt_snapshot *lt_snapshot_ref(struct lt_snapshot *s) {
    atomic_fetch_add(&s->references, 1);
    return s;
}

void lt_snapshot_put(struct lt_snapshot *s) {
    if (!s || atomic_fetch_sub(&s->references, 1) != 1)
        return;
    lt_core_conf_fini(&s->core);
    lt_config_fini(&s->config);
    free(s);
}

// --- generations ---

static void free_generation(struct lt_generation *g) {
    for (unsigned i = g->n; i > 0; i--) {
        struct lt_instance *m = &g->instances[i - 1];
        if (m->module->worker_fini)
            m->module->worker_fini(m->worker);
        free(m->worker);
    }
    lt_pool_free(g->pool);
    lt_snapshot_put(g->snapshot);
    free(g->instances);
    free(g);
}

void lt_generation_get(struct lt_generation *g) {
    g->references++;
    g->worker->users++;
}

void lt_generation_put(struct lt_generation *g) {
    struct lt_worker *w = g->worker;
    w->users--;
    if (--g->references == 0)
        free_generation(g);
    lt_worker_check_drained(w);
}

void lt_services_hold(const struct lt_services *s) {
    lt_generation_get(s->generation);
}

void lt_services_drop(const struct lt_services *s) {
    lt_generation_put(s->generation);
}

static const void *conf_of(const struct lt_module *m, const struct lt_snapshot *s) {
    return m->options.prefix ? lt_config_group(&s->config, m->options.prefix) : NULL;
}

static bool is_used(const struct lt_module *m, const struct lt_snapshot *s, const struct lt_worker *w) {
    switch (w->role) {
    case LT_ROLE_ADMIN:
        return m->on_admin;
    case LT_ROLE_OWN:
        return m == w->own;
    default:
        return !m->enabled || m->enabled(conf_of(m, s));
    }
}

// Does any carrier carry; does any want one request at a time a session?
static void look_at_carriers(const struct lt_snapshot *s, struct lt_services *services) {
    for (unsigned i = 0; i < s->n_modules; i++) {
        const struct lt_module *m = s->modules[i];
        const void *conf = conf_of(m, s);
        if (m->phase != LT_PHASE_CARRIER || (m->enabled && !m->enabled(conf)))
            continue;
        services->carriers = true;
        services->exclusive = services->exclusive || !m->exclusive || m->exclusive(conf);
    }
}

static bool add_instance(struct lt_generation *g, const struct lt_module *module, struct lt_metrics *metrics) {
    struct lt_instance *m = &g->instances[g->n];
    const struct lt_snapshot *s = g->snapshot;
    *m = (struct lt_instance){
        .module = module,
        .conf = conf_of(module, s),
        .worker = calloc(1, module->worker_size + 1),
        .metrics = metrics,
        .services = {.loop = &g->worker->loop,
                     .config = &s->config,
                     .role = g->worker->role,
                     .upstream = s->core.upstream,
                     .metrics = metrics,
                     .generation = g},
    };
    look_at_carriers(s, &m->services);
    if (!m->worker)
        return false;
    if (module->worker_init && !module->worker_init(m->worker, m->conf, &m->services)) {
        free(m->worker);
        return false;
    }
    g->n++;
    return true;
}

// Takes over the reference to `s`. NULL: a module could not start (and has said why).
static struct lt_generation *new_generation(struct lt_worker *w, struct lt_snapshot *s) {
    struct lt_generation *g = calloc(1, sizeof *g);
    struct lt_instance *instances = calloc(s->n_modules + 1, sizeof *instances);
    if (!g || !instances) {
        free(g);
        free(instances);
        lt_snapshot_put(s);
        return NULL;
    }
    *g = (struct lt_generation){.references = 1, .snapshot = s, .worker = w, .instances = instances};
    for (unsigned i = 0; i < s->n_modules; i++)
        if (is_used(s->modules[i], s, w) && !add_instance(g, s->modules[i], &w->module_metrics[i])) {
            free_generation(g);
            return NULL;
        }
    if (w->role == LT_ROLE_PROXY) {
        unsigned workers;
        lt_process_workers(&workers);
        g->pool = lt_pool_new(w, &s->core, (unsigned)s->core.limits->upstream_connections / (workers ? workers : 1));
        if (!g->pool) {
            free_generation(g);
            return NULL;
        }
    }
    return g;
}

// --- the thread ---

static void on_heartbeat(struct lt_timer *t) {
    struct lt_worker *w = LT_ENTRY(t, struct lt_worker, heartbeat);
    atomic_store(&w->beat, lt_clock_mono());
    lt_pipe_close_kept(&w->loop); // those of a busy second are soon made again
    lt_metric_set(&w->core_metrics, LT_M_BUFFERS, (uint64_t)(w->blocks.out + w->blocks.kept) * w->blocks.size);
    lt_timer_set(&w->loop, t, HEARTBEAT_MS);
}

void lt_worker_check_drained(struct lt_worker *w) {
    if (lt_worker_closes(w) && w->n_clients == 0 && w->users == 0)
        lt_loop_stop(&w->loop);
}

static void each_client(struct lt_worker *w, void (*act)(struct lt_client *c)) {
    for (struct lt_list *n = w->clients.next, *next; n != &w->clients; n = next) {
        next = n->next;
        act(LT_ENTRY(n, struct lt_client, node));
    }
}

static void enter(struct lt_worker *w, enum lt_worker_phase phase) {
    w->phase = phase;
    if (phase == LT_WORKER_CLOSES)
        lt_listener_close_all(w, true);
    each_client(w, phase == LT_WORKER_CUTS ? lt_client_cut : lt_client_drain);
    lt_worker_check_drained(w);
}

static void take_over(struct lt_worker *w, struct lt_snapshot *s) {
    unsigned serial = s->serial;
    struct lt_generation *g = new_generation(w, s);
    if (!g) {
        atomic_store(&w->refused, serial);
        atomic_store(&w->serial, serial);
        LT_LOG(LT_LOG_ERROR, "reload_failed", lt_fn("worker", w->index), lt_fs("do", "the old configuration stays"));
        return;
    }
    struct lt_generation *old = w->generation;
    w->generation = g;
    atomic_store(&w->serial, serial);
    if (--old->references == 0)
        free_generation(old);
}

static void on_apply(struct lt_task *t) {
    struct lt_worker *w = LT_ENTRY(t, struct lt_worker, apply);
    atomic_store(&w->apply_posted, false);
    struct lt_snapshot *s = atomic_exchange(&w->next, NULL);
    if (s)
        take_over(w, s);
    if (atomic_exchange(&w->leave_asked, false))
        lt_listener_close_all(w, false); // what stands in their queues is the other process's
    enum lt_worker_phase asked = atomic_load(&w->asked);
    if (asked == LT_WORKER_STOPS)
        lt_loop_stop(&w->loop);
    else
        while (w->phase < asked)
            enter(w, w->phase + 1);
}

static void post_apply(struct lt_worker *w) {
    if (!atomic_exchange(&w->apply_posted, true))
        lt_loop_post(&w->loop, &w->apply);
}

void lt_worker_reload(struct lt_worker *w, struct lt_snapshot *s) {
    lt_snapshot_put(atomic_exchange(&w->next, s));
    post_apply(w);
}

void lt_worker_ask(struct lt_worker *w, enum lt_worker_phase phase) {
    if (phase > atomic_load(&w->asked)) // nobody else writes it
        atomic_store(&w->asked, phase);
    post_apply(w);
}

void lt_worker_leave(struct lt_worker *w) {
    atomic_store(&w->leave_asked, true);
    lt_worker_ask(w, LT_WORKER_DRAINS);
}

static void *run(void *arg) {
    struct lt_worker *w = arg;
    char name[16];
    if (w->role == LT_ROLE_PROXY)
        snprintf(name, sizeof name, "lethe-%u", w->index);
    else
        snprintf(name, sizeof name, "lethe-%.9s", w->own ? w->own->name : "admin");
    pthread_setname_np(pthread_self(), name);
    lt_loop_run(&w->loop);
    lt_process_worker_ended();
    return NULL;
}

bool lt_worker_start(struct lt_worker *w) {
    return pthread_create(&w->thread, NULL, run, w) == 0;
}

static bool init_metrics(struct lt_worker *w, const struct lt_snapshot *s) {
    w->n_modules = s->n_modules;
    w->module_metrics = calloc(s->n_modules + 1, sizeof *w->module_metrics);
    bool ok = w->module_metrics && lt_metrics_init(&w->core_metrics, lt_core_metrics, LT_M_CORE_COUNT);
    for (unsigned i = 0; ok && i < s->n_modules; i++)
        ok = lt_metrics_init(&w->module_metrics[i], s->modules[i]->metrics, s->modules[i]->n_metrics);
    return ok;
}

bool lt_worker_init(struct lt_worker *w, struct lt_snapshot *s, unsigned index, enum lt_role role,
                    const struct lt_module *own) {
    size_t head = (size_t)s->core.limits->head;
    *w = (struct lt_worker){.index = index, .role = role, .own = own};
    lt_list_init(&w->clients);
    lt_list_init(&w->listeners);
    lt_timer_init(&w->heartbeat, on_heartbeat);
    lt_task_init(&w->apply, on_apply);
    lt_task_init(&w->access_flush, lt_access_flush);
    lt_buf_init(&w->scratch, 2 * head + (64 << 10));
    lt_buf_init(&w->access, ACCESS_MAX);
    lt_block_pool_init(&w->exchanges, LT_EXCHANGE_BLOCK);
    lt_block_pool_init(&w->blocks, head + LT_BODY_ROOM > MIN_BLOCK ? head + LT_BODY_ROOM : MIN_BLOCK);
    if (lt_loop_init(&w->loop) != LT_OK || !init_metrics(w, s) ||
        getrandom(&w->id_prefix, sizeof w->id_prefix, 0) != sizeof w->id_prefix) {
        LT_LOG(LT_LOG_ERROR, "worker_failed", lt_fs("why", strerror(errno)));
        return false;
    }
    on_heartbeat(&w->heartbeat);
    w->generation = new_generation(w, lt_snapshot_ref(s));
    return w->generation != NULL;
}

void lt_worker_fini(struct lt_worker *w) {
    if (w->loop.base) {
        lt_listener_close_all(w, false);
        while (!lt_list_empty(&w->clients))
            lt_client_close(LT_ENTRY(w->clients.next, struct lt_client, node));
        lt_loop_settle(&w->loop);
        lt_timer_clear(&w->loop, &w->heartbeat);
    }
    if (w->generation)
        free_generation(w->generation);
    lt_access_flush(&w->access_flush);
    lt_snapshot_put(atomic_exchange(&w->next, NULL));
    for (unsigned i = 0; w->module_metrics && i < w->n_modules; i++)
        lt_metrics_fini(&w->module_metrics[i]);
    free(w->module_metrics);
    lt_metrics_fini(&w->core_metrics);
    lt_block_pool_fini(&w->blocks);
    lt_block_pool_fini(&w->exchanges);
    lt_buf_fini(&w->scratch);
    lt_buf_fini(&w->access);
    if (w->loop.base)
        lt_loop_fini(&w->loop);
}
