// SPDX-License-Identifier: Apache-2.0
#include "modules/health/app.h"

#include "base/clock.h"
#include "tests/rig/leaks.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

TestSuite(app, .fini = lt_rig_leaks);

// --- a name with the addresses that a test gives it ---

static struct lt_address addresses[4];
static unsigned n_addresses;

unsigned __wrap_lt_target_count(struct lt_target *t);
enum lt_err __wrap_lt_target_address(struct lt_target *t, unsigned turn, struct lt_address *out);

unsigned __wrap_lt_target_count(struct lt_target *t) {
    (void)t;
    return n_addresses;
}

enum lt_err __wrap_lt_target_address(struct lt_target *t, unsigned turn, struct lt_address *out) {
    (void)t;
    if (n_addresses == 0)
        return LT_ERR_RESOLVE;
    *out = addresses[turn % n_addresses];
    return LT_OK;
}

// A listener on a free port of 127.0.0.1; its address goes to the name's.
static int listen_here(int backlog) {
    struct lt_address *a = &addresses[n_addresses++];
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    cr_assert(lt_address_parse(LT_S("127.0.0.1:0"), a));
    cr_assert(bind(fd, &a->u.sa, a->size) == 0 && listen(fd, backlog) == 0 && getsockname(fd, &a->u.sa, &a->size) == 0);
    return fd;
}

// A port of 127.0.0.1 where nobody listens.
static void nobody_here(void) {
    close(listen_here(1));
}

static void accepted(int listener, unsigned n) {
    for (unsigned i = 0; i < n; i++) {
        int fd = accept(listener, NULL, NULL);
        cr_assert_geq(fd, 0, "connection %u", i + 1);
        close(fd);
    }
    cr_assert_eq(accept(listener, NULL, NULL), -1, "more than %u connections", n);
}

// --- one that asks ---

struct asker {
    struct app_wait wait;
    unsigned told;
};

static void on_told(struct app_wait *w) {
    LT_ENTRY(w, struct asker, wait)->told++;
}

static struct lt_loop loop;
static struct app_check app;

static void begin(void) {
    lt_clock_set(1000000, 1);
    cr_assert_eq(lt_loop_init(&loop), LT_OK);
    cr_assert(app_check_init(&app, &loop, LT_S("127.0.0.1:1")));
}

static void finish(void) {
    app_check_fini(&app);
    cr_assert_eq(loop.timers, 0);
    lt_loop_fini(&loop);
}

// True: answered at once.
static bool ask(struct asker *a) {
    *a = (struct asker){.wait.done = on_told};
    return app_check_ask(&app, &a->wait);
}

static void on_guard(evutil_socket_t fd, short what, void *arg) {
    (void)fd;
    (void)what;
    cr_assert_fail("%s: not within 10 s", (const char *)arg);
}

static void wait_for(const struct asker *a) {
    char why[] = "the answer";
    struct event *guard = event_new(loop.base, -1, 0, on_guard, why);
    event_add(guard, &(struct timeval){.tv_sec = 10});
    while (!a->told)
        event_base_loop(loop.base, EVLOOP_ONCE);
    event_free(guard);
}

static void move_clock(int64_t ms) {
    lt_clock_set(lt_clock_mono() + ms, 1);
    event_active(loop.alarm, EV_TIMEOUT, 1);
    event_base_loop(loop.base, EVLOOP_NONBLOCK);
}

// Asks and waits; the answer.
static bool says(void) {
    struct asker a;
    if (!ask(&a)) {
        wait_for(&a);
        cr_assert_eq(a.told, 1);
    }
    return app.ok;
}

// --- tests ---

Test(app, accepts_or_not) {
    int listener = listen_here(8);
    begin();
    cr_assert(says());
    accepted(listener, 1);
    close(listener);
    move_clock(1001);
    cr_assert_not(says());
    finish();
}

Test(app, answer_is_kept_for_a_second) {
    int listener = listen_here(8);
    struct asker a;
    begin();
    cr_assert(says());
    accepted(listener, 1);
    move_clock(1000);
    cr_assert(ask(&a) && app.ok && a.told == 0);
    accepted(listener, 0);
    move_clock(1);
    cr_assert(says());
    accepted(listener, 1);
    close(listener);
    cr_assert(says(), "still the old answer");
    move_clock(1001);
    cr_assert_not(says());
    cr_assert(ask(&a) && !app.ok, "a bad answer is kept as well");
    finish();
}

Test(app, who_asks_meanwhile_shares_the_connection) {
    struct asker a, b, c;
    int listener = listen_here(8);
    begin();
    cr_assert(!ask(&a) && !ask(&b) && !ask(&c));
    app_check_leave(&app, &b.wait);
    wait_for(&a);
    cr_assert(a.told == 1 && b.told == 0 && c.told == 1 && app.ok);
    accepted(listener, 1);
    close(listener);
    finish();
}

Test(app, given_up_finds_nothing_out) {
    struct asker a, b;
    int listener = listen_here(8);
    begin();
    cr_assert(!ask(&a) && !ask(&b));
    app_check_leave(&app, &a.wait);
    cr_assert(app.connecting);
    app_check_leave(&app, &b.wait);
    cr_assert(!app.connecting && loop.timers == 0 && app.at == 0, "nobody knows");
    app_check_leave(&app, &b.wait); // does not wait: nothing
    cr_assert(says());
    close(listener);
    finish();
}

// The accept queue is full: the kernel drops what comes, and nothing is heard.
Test(app, silence_has_a_limit) {
    struct asker a;
    int listener = listen_here(0), full[4];
    enum lt_err e;
    for (unsigned i = 0; i < 4; i++)
        full[i] = lt_connect_begin(&addresses[0], &e);
    begin();
    cr_assert_not(ask(&a));
    move_clock(700);
    cr_assert_eq(a.told, 0);
    move_clock(110);
    cr_assert(a.told == 1 && !app.ok && !app.connecting);
    for (unsigned i = 0; i < 4; i++)
        close(full[i]);
    close(listener);
    finish();
}

Test(app, any_address_of_a_name_will_do) {
    nobody_here();
    int listener = listen_here(8);
    nobody_here();
    begin();
    cr_assert(says());
    accepted(listener, 1);
    close(listener);
    move_clock(1001);
    cr_assert_not(says(), "none of the three");
    finish();
}

Test(app, name_without_an_address) {
    struct asker a;
    begin();
    cr_assert(ask(&a) && !app.ok);
    listen_here(8);
    move_clock(1001);
    cr_assert(says(), "it has one now");
    finish();
}

Test(app, local_socket) {
    char path[] = "/tmp/lethe_app_XXXXXX/s", text[64];
    path[sizeof path - 3] = '\0';
    cr_assert(mkdtemp(path));
    path[sizeof path - 3] = '/';
    snprintf(text, sizeof text, "unix:%s", path);
    cr_assert(lt_address_parse(lt_span_cstr(text), &addresses[0]));
    n_addresses = 1;
    begin();
    cr_assert_not(says(), "no such file");
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    cr_assert(bind(fd, &addresses[0].u.sa, addresses[0].size) == 0 && listen(fd, 1) == 0);
    move_clock(1001);
    cr_assert(says());
    close(fd);
    move_clock(1001);
    cr_assert_not(says(), "nobody listens any more");
    unlink(path);
    path[sizeof path - 3] = '\0';
    rmdir(path);
    finish();
}
