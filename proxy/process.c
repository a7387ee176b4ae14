// SPDX-License-Identifier: Apache-2.0
#include "process.h"

#include "base/clock.h"
#include "drain.h"
#include "exchange.h"
#include "inherit.h"
#include "notify.h"
#include "place.h"
#include "upgrade.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <time.h>
#include <unistd.h>

enum { SIDES_MAX = 8, FILES_LOOK_MS = 2000, BEAT_MS = 1000, UPGRADE_MS = 60 * 1000, SIDES_SECONDS = 1 };

// One process, one set of these: workers are made before the first thread starts and live until the last one ended.
static struct {
    struct lt_worker *workers;
    unsigned n;
    struct lt_worker sides[SIDES_MAX]; // the admin's, and those of modules' own listeners
    unsigned n_sides;
    atomic_uint connections;
    atomic_bool started;
    int ended;                   // eventfd: counts workers whose loop has ended
    int64_t began;               // lt_clock_mono()
    struct lt_snapshot *watched; // whose files are looked at
    uint64_t stamp;
    atomic_uint serial;    // of the last configuration that was handed out
    int upgrade;           // the new process says how it goes; -1: none is starting
    int64_t upgrade_limit; // until when it may take
    bool stopped;          // a signal to end has come
    lt_reload_fn *reload;
    int64_t watchdog, next_sign; // ms: every how often the service manager wants a sign of life, and when
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
        .draining = lt_drain_is_seen(),
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

// A listener with a thread of its own.
static bool add_side(struct lt_snapshot *s, enum lt_role role, const struct lt_module *own, struct lt_place p) {
    struct lt_worker *w = &process.sides[process.n_sides];
    p.workers = w;
    p.n = 1;
    if (process.n_sides == SIDES_MAX)
        return false;
    process.n_sides++;
    return lt_worker_init(w, s, process.n + process.n_sides - 1, role, own) && lt_place_open(&p);
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
    struct lt_place admin = {.option = "admin", .address = top->admin, .event = "admin_listening"};
    if (top->admin.n && !add_side(s, LT_ROLE_ADMIN, NULL, admin))
        return false;
    for (unsigned i = 0; i < s->n_modules; i++) {
        const struct lt_module *m = s->modules[i];
        struct lt_place own = {.option = m->name, .event = "module_listening"};
        if (m->listen)
            own.address = m->listen(lt_config_group(&s->config, m->options.prefix), &own.mode);
        if (own.address.n && !add_side(s, LT_ROLE_OWN, m, own))
            return false;
    }
    struct lt_place main_place = {.option = "listen",
                                  .workers = process.workers,
                                  .n = process.n,
                                  .proxy_header = top->proxy_protocol,
                                  .event = "listening"};
    for (unsigned i = 0; i < top->listen.n; i++) {
        main_place.address = top->listen.v[i];
        if (!lt_place_open(&main_place))
            return false;
    }
    const struct lt_option_list *tls = &s->core.tls.conf->listen;
    main_place.option = "tls.listen";
    main_place.tls = true;
    for (unsigned i = 0; i < tls->n; i++) {
        main_place.address = tls->v[i];
        if (!lt_place_open(&main_place))
            return false;
    }
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

// The files of this configuration are looked at from now on.
static void watch(struct lt_snapshot *s) {
    lt_snapshot_put(process.watched);
    process.watched = s ? lt_snapshot_ref(s) : NULL;
    process.stamp = s ? s->core.stamp : 0;
}

static bool files_have_changed(void) {
    uint64_t stamp = lt_core_conf_stamp(&process.watched->core);
    bool changed = stamp != process.stamp;
    process.stamp = stamp;
    return changed;
}

static void hand_out(struct lt_snapshot *s) {
    apply_log(s);
    watch(s);
    lt_drain_setup(s->core.timeouts);
    s->serial = atomic_fetch_add(&process.serial, 1) + 1;
    for (unsigned i = 0; i < process.n; i++)
        lt_worker_reload(&process.workers[i], lt_snapshot_ref(s));
    for (unsigned i = 0; i < process.n_sides; i++)
        lt_worker_reload(&process.sides[i], lt_snapshot_ref(s));
    lt_snapshot_put(s);
    LT_LOG(LT_LOG_INFO, "reloaded");
}

static void reload_all(void) {
    char why[LT_CONTROL_TEXT] = "";
    bool draining = lt_drain_phase() != LT_DRAIN_NOT; // then a manager is not told that we were ready again
    if (!draining)
        lt_notify_reloading();
    struct lt_snapshot *s = process.reload(why, sizeof why);
    bool moves = s && lt_places_moved(process.watched, s);
    if (s)
        hand_out(s);
    if (moves)
        LT_LOG(LT_LOG_WARN, "listeners_stay", lt_fs("why", "a reload opens no other addresses"),
               lt_fs("do", "lethe upgrade, or a restart, opens them"));
    if (!draining)
        lt_notify_ready();
    lt_control_settle(s != NULL, moves ? "reloaded, but for the addresses that it listens on: \"lethe upgrade\", or a "
                                         "restart, opens the new ones"
                                 : s   ? "reloaded"
                                       : why);
}

enum lt_answer lt_process_reloaded(void) {
    enum lt_answer answer = LT_ANSWER_DONE;
    for (unsigned i = 0; i < process.n + process.n_sides; i++) {
        struct lt_worker *w = i < process.n ? &process.workers[i] : &process.sides[i - process.n];
        unsigned serial = atomic_load(&w->serial);
        if (serial != atomic_load(&process.serial))
            return LT_ANSWER_WAITS;
        if (serial && atomic_load(&w->refused) == serial)
            answer = LT_ANSWER_FAILED;
    }
    return answer;
}

// What still runs is cut off. Sessions are safe: what was not committed was not confirmed to a client either.
static void end_at_once(const char *why) {
    LT_LOG(LT_LOG_WARN, "forced_end", lt_fs("why", why));
    lt_places_remove();
    _exit(0);
}

// --- an upgrade ---

static void begin_upgrade(void) {
    char why[LT_CONTROL_TEXT] = "this process is about to end; start another";
    int fd = lt_drain_phase() == LT_DRAIN_NOT ? lt_upgrade_begin(why, sizeof why) : -1;
    if (fd < 0) {
        LT_LOG(LT_LOG_ERROR, "upgrade_failed", lt_fs("why", why));
        lt_control_settle(false, why);
        return;
    }
    LT_LOG(LT_LOG_INFO, "upgrading");
    process.upgrade = fd;
    process.upgrade_limit = lt_clock_mono() + UPGRADE_MS;
}

static void look_at_upgrade(bool late) {
    char why[LT_CONTROL_TEXT];
    pid_t pid = 0;
    switch (lt_upgrade_result(late, &pid, why, sizeof why)) {
    case LT_UPGRADE_WAITS:
        return;
    case LT_UPGRADE_READY:
        snprintf(why, sizeof why, "process %ld has taken over", (long)pid);
        LT_LOG(LT_LOG_INFO, "upgraded", lt_fn("pid", pid));
        lt_notify_successor(pid);
        process.watchdog = 0; // the manager looks at the other one now
        lt_drain_hand_over();
        lt_control_settle(true, why);
        break;
    case LT_UPGRADE_FAILED:
        LT_LOG(LT_LOG_ERROR, "upgrade_failed", lt_fs("why", why));
        lt_control_settle(false, why);
    }
    process.upgrade = -1;
}

// Both a new process and the end are wanted: the end counts.
static void begin_drain(bool at_once) {
    if (process.upgrade >= 0)
        look_at_upgrade(true);
    lt_drain_begin(at_once);
}

// --- the main thread's loop ---

// A worker that hangs keeps the sign back, and the manager starts the process anew. It beats once a second.
static void show_life(void) {
    if (!process.watchdog || lt_clock_mono() < process.next_sign)
        return;
    struct lt_process_view view;
    lt_process_look(&view);
    if (view.oldest_heartbeat < 2 * process.watchdog + BEAT_MS)
        lt_notify_alive();
    process.next_sign = lt_clock_mono() + process.watchdog;
}

static int64_t sooner(int64_t a, int64_t b) {
    return a < 0 || (b >= 0 && b < a) ? b : a;
}

// How long to wait for a signal, in ms; -1: for ever.
static int64_t patience(void) {
    int64_t left = lt_drain_patience();
    if (left < 0 && process.stamp)
        left = FILES_LOOK_MS;
    if (process.watchdog)
        left = sooner(left, process.watchdog);
    if (process.upgrade >= 0) {
        int64_t time = process.upgrade_limit - lt_clock_mono();
        left = sooner(left, time > 0 ? time : 0);
    }
    return left;
}

static void on_signal(uint32_t number) {
    if (number == SIGHUP) {
        reload_all();
    } else if (number == SIGUSR2) {
        begin_upgrade();
    } else if (process.stopped) {
        end_at_once("second signal");
    } else {
        process.stopped = true;
        begin_drain(false);
    }
}

static void on_question(void) {
    enum lt_ask what;
    if (!lt_control_next(&what))
        return;
    switch (what) {
    case LT_ASK_RELOAD:
        reload_all();
        break;
    case LT_ASK_UPGRADE:
        begin_upgrade();
        break;
    default:
        begin_drain(what == LT_ASK_QUIT);
        lt_control_settle(true, "draining");
    }
}

// Until all workers have ended.
static void main_loop(int signals) {
    unsigned ended = 0;
    while (ended < process.n) {
        struct pollfd fds[] = {{.fd = signals, .events = POLLIN},
                               {.fd = process.ended, .events = POLLIN},
                               {.fd = lt_control_fd(), .events = POLLIN},
                               {.fd = process.upgrade, .events = POLLIN}};
        if (!lt_drain_step())
            end_at_once("timeouts.drain");
        show_life();
        int ready = poll(fds, 4, (int)patience());
        if (ready < 0 && errno != EINTR)
            end_at_once(strerror(errno));
        if (ready == 0 && lt_drain_phase() == LT_DRAIN_NOT && files_have_changed())
            reload_all();
        if (process.upgrade >= 0 && (fds[3].revents || lt_clock_mono() >= process.upgrade_limit))
            look_at_upgrade(!fds[3].revents);
        uint64_t count;
        if (fds[1].revents & POLLIN && read(process.ended, &count, sizeof count) == sizeof count)
            ended += (unsigned)count;
        struct signalfd_siginfo info;
        if (fds[0].revents & POLLIN && read(signals, &info, sizeof info) == sizeof info)
            on_signal(info.ssi_signo);
        if (fds[2].revents & POLLIN)
            on_question();
    }
}

static void join_all(void) {
    for (unsigned i = 0; i < process.n; i++)
        pthread_join(process.workers[i].thread, NULL);
    struct timespec limit;
    clock_gettime(CLOCK_REALTIME, &limit);
    limit.tv_sec += SIDES_SECONDS;
    for (unsigned i = 0; i < process.n_sides; i++) // the last requests may have asked them
        lt_worker_ask(&process.sides[i], LT_WORKER_CLOSES);
    for (unsigned i = 0; i < process.n_sides; i++) {
        if (pthread_timedjoin_np(process.sides[i].thread, NULL, &limit) == 0)
            continue;
        lt_worker_ask(&process.sides[i], LT_WORKER_STOPS);
        pthread_join(process.sides[i].thread, NULL);
    }
}

static void free_workers(void) {
    for (unsigned i = 0; process.workers && i < process.n; i++)
        lt_worker_fini(&process.workers[i]);
    for (unsigned i = 0; i < process.n_sides; i++)
        lt_worker_fini(&process.sides[i]);
    free(process.workers);
    lt_places_remove();
}

// Blocked before the threads start, which inherit it. -1: no descriptor.
static int read_signals(void) {
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGHUP);
    sigaddset(&set, SIGUSR2);
    signal(SIGPIPE, SIG_IGN);
    signal(SIGIO, SIG_IGN); // somebody opens a session file while we look whether anybody has it open
    pthread_sigmask(SIG_BLOCK, &set, NULL);
    return signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
}

int lt_process_run(struct lt_snapshot *s, lt_reload_fn *reload) {
    int signals = read_signals();
    process.began = lt_clock_mono();
    apply_log(s);
    lt_access_open();
    lt_drain_setup(s->core.timeouts);
    process.reload = reload;
    process.upgrade = -1;
    process.watchdog = lt_notify_watchdog_ms();
    watch(s);
    bool ok = signals >= 0 && lt_control_init() && lt_inherit_init() && make_workers(s) && start_workers();
    if (ok) {
        lt_inherit_done();
        lt_notify_ready();
        main_loop(signals);
        join_all();
        LT_LOG(LT_LOG_INFO, "ended");
    }
    free_workers();
    lt_upgrade_fini();
    lt_inherit_fini();
    lt_control_fini();
    lt_access_close();
    watch(NULL);
    lt_snapshot_put(s);
    if (signals >= 0)
        close(signals);
    return ok ? 0 : 1;
}
