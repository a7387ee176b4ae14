// SPDX-License-Identifier: Apache-2.0
#include "process.h"

#include "base/clock.h"
#include "crypto/keys.h"
#include "exchange.h"
#include "listener.h"

#include <errno.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <unistd.h>

enum { SIDES_MAX = 8, KEYS_LOOK_MS = 2000 };

// One process, one set of these: workers are made before the first thread starts and live until the last one ended.
static struct {
    struct lt_worker *workers;
    unsigned n;
    struct lt_worker sides[SIDES_MAX]; // the admin's, and those of modules' own listeners
    unsigned n_sides;
    atomic_uint connections;
    atomic_bool started, draining;
    int ended; // eventfd: counts workers whose loop has ended
    struct lt_span unix_paths[16];
    unsigned n_unix_paths;
    int64_t began;   // lt_clock_mono()
    char keys[4096]; // the option as it stands now
    uint64_t keys_stamp;
} process;

unsigned lt_process_connections(int delta) {
    return atomic_fetch_add(&process.connections, (unsigned)delta) + (unsigned)delta;
}

struct lt_worker *lt_process_workers(unsigned *n) {
    *n = process.n;
    return process.workers;
}

struct lt_worker *lt_process_sides(unsigned *n) {
    *n = process.n_sides;
    return process.sides;
}

void lt_process_worker_ended(void) {
    uint64_t one = 1;
    if (write(process.ended, &one, sizeof one) < 0)
        abort();
}

void lt_process_look(struct lt_process_view *view) {
    *view = (struct lt_process_view){
        .workers = process.n,
        .started = atomic_load(&process.started),
        .draining = atomic_load(&process.draining),
    };
    int64_t now = lt_clock_mono();
    view->uptime = now - process.began;
    for (unsigned i = 0; i < process.n; i++) {
        int64_t age = now - atomic_load(&process.workers[i].beat);
        if (age > view->oldest_heartbeat && !view->draining)
            view->oldest_heartbeat = age;
    }
}

static unsigned cpu_count(void) {
    cpu_set_t set;
    int n = sched_getaffinity(0, sizeof set, &set) == 0 ? CPU_COUNT(&set) : 1;
    return n > 0 ? (unsigned)n : 1;
}

static bool open_listener(struct lt_span text, unsigned mode, struct lt_worker *workers, unsigned n, bool proxy_header,
                          const char *event) {
    int fds[256];
    char error[256], at[LT_ADDRESS_TEXT];
    struct lt_address bound;
    if (!lt_listen(text, mode, n, fds, &bound, error, sizeof error)) {
        fprintf(stderr, "lethe: %s\n", error);
        return false;
    }
    for (unsigned i = 0; i < n; i++)
        if (!lt_listener_add(&workers[i], fds[i], proxy_header))
            return false;
    if (bound.u.sa.sa_family == AF_UNIX && process.n_unix_paths < 16)
        process.unix_paths[process.n_unix_paths++] = lt_span(text.p + 5, text.n - 5);
    LT_LOG(LT_LOG_INFO, event, lt_fs("address", lt_address_format(&bound, at)));
    return true;
}

// A listener with a thread of its own.
static bool add_side(struct lt_snapshot *s, enum lt_role role, const struct lt_module *own, struct lt_span address,
                     unsigned mode, const char *event) {
    struct lt_worker *w = &process.sides[process.n_sides];
    if (process.n_sides == SIDES_MAX)
        return false;
    process.n_sides++;
    return lt_worker_init(w, s, process.n + process.n_sides - 1, role, own) &&
           open_listener(address, mode, w, 1, false, event);
}

static bool make_workers(struct lt_snapshot *s) {
    const struct lt_top_conf *top = s->core.top;
    process.n = top->workers ? (unsigned)top->workers : cpu_count();
    process.workers = calloc(process.n, sizeof *process.workers);
    process.ended = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (!process.workers || process.ended < 0)
        return false;
    for (unsigned i = 0; i < process.n; i++)
        if (!lt_worker_init(&process.workers[i], s, i, LT_ROLE_PROXY, NULL))
            return false;
    if (top->admin.n && !add_side(s, LT_ROLE_ADMIN, NULL, top->admin, 0, "admin_listening"))
        return false;
    for (unsigned i = 0; i < s->n_modules; i++) {
        const struct lt_module *m = s->modules[i];
        unsigned mode = 0;
        struct lt_span at = m->listen ? m->listen(lt_config_group(&s->config, m->options.prefix), &mode) : LT_S("");
        if (at.n && !add_side(s, LT_ROLE_OWN, m, at, mode, "module_listening"))
            return false;
    }
    for (unsigned i = 0; i < top->listen.n; i++)
        if (!open_listener(top->listen.v[i], 0, process.workers, process.n, top->proxy_protocol, "listening"))
            return false;
    return true;
}

static bool start_workers(void) {
    for (unsigned i = 0; i < process.n; i++)
        if (!lt_worker_start(&process.workers[i]))
            return false;
    for (unsigned i = 0; i < process.n_sides; i++)
        if (!lt_worker_start(&process.sides[i]))
            return false;
    atomic_store(&process.started, true);
    return true;
}

static void apply_log(const struct lt_snapshot *s) {
    lt_log_setup((enum lt_log_level)s->core.log->level, (enum lt_log_format)s->core.log->format);
}

static void note_keys(const struct lt_snapshot *s) {
    struct lt_span keys = s->core.top->keys;
    snprintf(process.keys, sizeof process.keys, "%.*s", (int)keys.n, keys.n ? keys.p : "");
    process.keys_stamp = lt_keys_stamp(lt_span_cstr(process.keys));
}

// The stamp is taken before the files are read: what is written meanwhile is seen at the next look.
static bool keys_have_changed(void) {
    uint64_t stamp = lt_keys_stamp(lt_span_cstr(process.keys));
    bool changed = stamp != process.keys_stamp;
    process.keys_stamp = stamp;
    return changed;
}

static void reload_all(struct lt_snapshot *(*reload)(void)) {
    struct lt_snapshot *s = reload();
    if (!s)
        return;
    apply_log(s);
    note_keys(s);
    for (unsigned i = 0; i < process.n; i++)
        lt_worker_reload(&process.workers[i], lt_snapshot_ref(s));
    for (unsigned i = 0; i < process.n_sides; i++)
        lt_worker_reload(&process.sides[i], lt_snapshot_ref(s));
    lt_snapshot_put(s);
    LT_LOG(LT_LOG_INFO, "reloaded");
}

static void remove_unix_sockets(void) {
    for (unsigned i = 0; i < process.n_unix_paths; i++) {
        char path[128];
        snprintf(path, sizeof path, "%.*s", (int)process.unix_paths[i].n, process.unix_paths[i].p);
        unlink(path);
    }
}

// What still runs is cut off. Sessions are safe: what was not committed was not confirmed to a client either.
static void end_at_once(const char *why) {
    LT_LOG(LT_LOG_WARN, "forced_end", lt_fs("why", why));
    remove_unix_sockets();
    _exit(0);
}

static void begin_drain(int64_t limit, int64_t *deadline) {
    LT_LOG(LT_LOG_INFO, "draining", lt_fn("limit_ms", limit));
    atomic_store(&process.draining, true);
    *deadline = lt_clock_mono() + limit;
    for (unsigned i = 0; i < process.n; i++)
        lt_worker_drain(&process.workers[i]);
}

// Waits for signals, and in a drain for the workers' ends or the limit.
static void main_loop(int signals, int64_t drain_limit, struct lt_snapshot *(*reload)(void)) {
    int64_t deadline = 0;
    unsigned ended = 0;
    while (ended < process.n) {
        struct pollfd fds[] = {{.fd = signals, .events = POLLIN}, {.fd = process.ended, .events = POLLIN}};
        int64_t left = deadline ? deadline - lt_clock_mono() : process.keys_stamp ? KEYS_LOOK_MS : -1;
        if (deadline && left <= 0)
            end_at_once("timeouts.drain");
        int ready = poll(fds, 2, (int)left);
        if (ready < 0 && errno != EINTR)
            end_at_once(strerror(errno));
        if (ready == 0 && !deadline && keys_have_changed())
            reload_all(reload);
        uint64_t count;
        if (fds[1].revents & POLLIN && read(process.ended, &count, sizeof count) == sizeof count)
            ended += (unsigned)count;
        struct signalfd_siginfo info;
        if (!(fds[0].revents & POLLIN) || read(signals, &info, sizeof info) != sizeof info)
            continue;
        if (info.ssi_signo == SIGHUP)
            reload_all(reload);
        else if (deadline)
            end_at_once("second signal");
        else
            begin_drain(drain_limit, &deadline);
    }
}

static void join_all(void) {
    for (unsigned i = 0; i < process.n; i++)
        pthread_join(process.workers[i].thread, NULL);
    for (unsigned i = 0; i < process.n_sides; i++) { // the last requests may have asked them
        lt_worker_stop(&process.sides[i]);
        pthread_join(process.sides[i].thread, NULL);
    }
}

static void free_workers(void) {
    for (unsigned i = 0; process.workers && i < process.n; i++)
        lt_worker_fini(&process.workers[i]);
    for (unsigned i = 0; i < process.n_sides; i++)
        lt_worker_fini(&process.sides[i]);
    free(process.workers);
    remove_unix_sockets();
}

int lt_process_run(struct lt_snapshot *s, struct lt_snapshot *(*reload)(void)) {
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGHUP);
    signal(SIGPIPE, SIG_IGN);
    signal(SIGIO, SIG_IGN);                 // somebody opens a session file while we look whether anybody has it open
    pthread_sigmask(SIG_BLOCK, &set, NULL); // before the threads, which inherit it
    int signals = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    process.began = lt_clock_mono();
    apply_log(s);
    lt_access_open();
    int64_t drain_limit = s->core.timeouts->drain;
    note_keys(s);
    bool ok = signals >= 0 && make_workers(s) && start_workers();
    if (ok) {
        main_loop(signals, drain_limit, reload);
        join_all();
        LT_LOG(LT_LOG_INFO, "ended");
    }
    free_workers();
    lt_access_close();
    lt_snapshot_put(s);
    if (signals >= 0)
        close(signals);
    return ok ? 0 : 1;
}
