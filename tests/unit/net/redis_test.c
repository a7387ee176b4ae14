// SPDX-License-Identifier: Apache-2.0
// The client against a server in the same loop that says what the test wants, or nothing.
#include "net/redis.h"

#include "base/clock.h"
#include "base/log.h"
#include "tests/rig/leaks.h"
#include "tests/rig/turns.h"

#include <criterion/criterion.h>
#include <hiredis/hiredis.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { TIMEOUT = 60, CLIENTS = 200, BUCKET_MS = 100, BUCKETS = 40, CONNECTIONS = 16 };

static struct lt_loop loop;

static struct {
    int fd;
    struct event *accepting;
    char address[64];
    bool answers, hangs_up;
    unsigned accepted, buckets[BUCKETS];
    int64_t began;
    struct connection {
        int fd;
        struct event *event;
    } open[CONNECTIONS];
    char heard[4096]; // all commands, without the protocol's lengths
} server;

static struct {
    struct lt_redis_owner owner;
    unsigned ready, opened, closed, pushed;
} events;

static void hear(const char *text) {
    for (const char *line = text; line && *line; line = strstr(line, "\r\n")) {
        line += *line == '\r' ? 2 : 0;
        if (*line && *line != '*' && *line != '$')
            snprintf(server.heard + strlen(server.heard), sizeof server.heard - strlen(server.heard), "%.*s ",
                     (int)strcspn(line, "\r"), line);
    }
}

static void on_data(evutil_socket_t fd, short what, void *arg) {
    char text[4096];
    ssize_t n = read(fd, text, sizeof text - 1);
    (void)what;
    if (n <= 0) {
        struct connection *c = arg;
        event_del(c->event);
        return;
    }
    text[n] = '\0';
    hear(text);
    for (const char *at = text; server.answers && (at = strchr(at, '*')); at++)
        cr_assert_eq(write(fd, "+PONG\r\n", 7), 7);
}

static void on_accept(evutil_socket_t fd, short what, void *arg) {
    (void)what;
    (void)arg;
    int peer = accept(fd, NULL, NULL);
    int64_t bucket = (lt_clock_mono() - server.began) / BUCKET_MS;
    server.accepted++;
    if (bucket >= 0 && bucket < BUCKETS)
        server.buckets[bucket]++;
    if (server.hangs_up || server.accepted > CONNECTIONS) {
        close(peer);
        return;
    }
    struct connection *c = &server.open[server.accepted - 1];
    c->fd = peer;
    c->event = event_new(loop.base, peer, EV_READ | EV_PERSIST, on_data, c);
    event_add(c->event, NULL);
}

static void happened(struct lt_redis_owner *o, struct lt_redis *r, enum lt_redis_event e) {
    (void)o;
    (void)r;
    events.ready += e == LT_REDIS_READY;
    events.opened += e == LT_REDIS_OPENED;
    events.closed += e == LT_REDIS_CLOSED;
}

static void pushed(struct lt_redis_owner *o, struct lt_redis *r, const redisReply *message) {
    (void)o;
    (void)r;
    (void)message;
    events.pushed++;
}

static void init(void) {
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof a;
    memset(&server, 0, sizeof server);
    memset(&events, 0, sizeof events);
    events.owner = (struct lt_redis_owner){.happened = happened, .pushed = pushed};
    lt_log_setup(LT_LOG_ERROR, LT_LOG_TEXT);
    cr_assert_eq(lt_loop_init(&loop), LT_OK);
    server.fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    cr_assert(bind(server.fd, (struct sockaddr *)&a, size) == 0 && listen(server.fd, 1024) == 0);
    cr_assert_eq(getsockname(server.fd, (struct sockaddr *)&a, &size), 0);
    snprintf(server.address, sizeof server.address, "127.0.0.1:%u", ntohs(a.sin_port));
    server.accepting = event_new(loop.base, server.fd, EV_READ | EV_PERSIST, on_accept, NULL);
    event_add(server.accepting, NULL);
    server.began = lt_clock_mono();
}

static void fini(void) {
    for (unsigned i = 0; i < CONNECTIONS; i++)
        if (server.open[i].event) {
            event_free(server.open[i].event);
            close(server.open[i].fd);
        }
    event_free(server.accepting);
    close(server.fd);
    lt_loop_fini(&loop);
    lt_rig_leaks();
}

TestSuite(redis, .init = init, .fini = fini);

static struct lt_redis *client(void) {
    struct lt_redis_options o = {.address = lt_span_cstr(server.address), .timeout = TIMEOUT, .owner = &events.owner};
    struct lt_redis *r = lt_redis_new(&loop, &o);
    cr_assert_not_null(r);
    return r;
}

struct asked {
    struct lt_redis_call call;
    bool done;
    enum lt_err e;
};

static void on_done(struct lt_redis_call *call, enum lt_err e, const redisReply *reply) {
    struct asked *a = LT_ENTRY(call, struct asked, call);
    cr_assert_not(a->done);
    a->done = true;
    a->e = e;
    cr_assert_eq(e == LT_OK, reply != NULL);
}

static void ask(struct lt_redis *r, struct asked *a, bool asking) {
    *a = (struct asked){.call = {.done = on_done, .asking = asking}};
    lt_redis_send(r, &a->call, &LT_S("GET"), 1);
}

#define UNTIL(condition) TURNS_UNTIL(&loop, condition)

Test(redis, silence_opens_the_breaker_and_only_a_greeting_closes_it) {
    struct lt_redis *r = client();
    struct asked a, b;
    ask(r, &a, false);
    UNTIL(a.done);
    cr_expect_eq(a.e, LT_ERR_TIMEOUT);
    cr_expect(lt_redis_is_open(r) && events.opened == 1);
    for (int i = 0; i < 20; i++) { // through several probes: all are refused within a turn, none waits for the probe
        int64_t began = lt_clock_mono();
        ask(r, &b, false);
        UNTIL(b.done);
        cr_expect_eq(b.e, LT_ERR_REFUSED);
        cr_expect_lt(lt_clock_mono() - began, TIMEOUT);
    }
    cr_expect_null(strstr(server.heard, "GET"), "%s", server.heard);
    server.answers = true;
    UNTIL(!lt_redis_is_open(r));
    cr_expect(events.opened == 1 && events.closed == 1 && events.ready == 1);
    ask(r, &b, false);
    UNTIL(b.done);
    cr_expect_eq(b.e, LT_OK);
    lt_redis_free(r);
}

Test(redis, one_slow_command_condemns_the_connection) {
    struct lt_redis *r = client();
    struct asked a[3];
    server.answers = true;
    ask(r, &a[0], false);
    UNTIL(a[0].done);
    server.answers = false;
    ask(r, &a[1], false);
    turns(&loop, TIMEOUT / 2);
    ask(r, &a[2], false); // stands behind the slow one
    UNTIL(a[1].done && a[2].done);
    cr_expect(a[1].e == LT_ERR_TIMEOUT && a[2].e == LT_ERR_TIMEOUT && events.opened == 1);
    lt_redis_free(r);
}

Test(redis, asking_stands_right_before_its_command) {
    struct lt_redis *r = client();
    struct asked a[80];
    server.answers = true;
    for (unsigned i = 0; i < 80; i++) // over the ring's first size
        ask(r, &a[i], i % 2);
    UNTIL(a[79].done);
    for (unsigned i = 0; i < 80; i++)
        cr_expect(a[i].done && a[i].e == LT_OK);
    cr_expect_eq(strncmp(server.heard, "PING GET ASKING GET GET ASKING GET ", 35), 0, "%s", server.heard);
    lt_redis_free(r);
}

Test(redis, what_nobody_asked_for_is_the_owners) {
    struct lt_redis *r = client();
    struct asked a;
    server.answers = true;
    ask(r, &a, false);
    UNTIL(a.done);
    cr_assert_eq(write(server.open[0].fd, "*1\r\n$1\r\nx\r\n", 11), 11);
    UNTIL(events.pushed == 1);
    cr_expect_eq(events.opened, 0);
    lt_redis_free(r);
}

static void locate(struct lt_redis_owner *o, struct lt_redis *r) {
    (void)o;
    cr_expect(lt_redis_located(r, lt_span_cstr(events.ready || events.opened ? server.address : "")));
}

Test(redis, the_owner_says_where) {
    struct asked a, b;
    server.answers = true;
    events.owner.locate = locate;
    struct lt_redis_options o = {.timeout = TIMEOUT, .owner = &events.owner};
    struct lt_redis *r = lt_redis_new(&loop, &o);
    ask(r, &a, false);
    UNTIL(a.done);
    cr_expect(a.e == LT_ERR_RESOLVE && events.opened == 1);
    UNTIL(events.closed == 1);
    cr_expect_str_eq(lt_redis_address(r), server.address);
    unsigned accepted = server.accepted;
    lt_redis_move(r);
    UNTIL(server.accepted > accepted);
    UNTIL(events.ready == 2);
    ask(r, &b, false);
    UNTIL(b.done);
    cr_expect(b.e == LT_OK && events.opened == 1);
    lt_redis_free(r);
}

// --- by name ---

// What the system's resolver says in this program: nothing until the test lets it, then that there is no such name, or the server.
static struct {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    enum { HELD, NOBODY, HERE } answer;
} names = {.lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};

int getaddrinfo(const char *name, const char *service, const struct addrinfo *hints, struct addrinfo **out) {
    (void)hints;
    cr_assert_str_eq(name, "redis.test");
    pthread_mutex_lock(&names.lock);
    while (names.answer == HELD)
        pthread_cond_wait(&names.changed, &names.lock);
    bool here = names.answer == HERE;
    pthread_mutex_unlock(&names.lock);
    struct addrinfo *one = here ? calloc(1, sizeof *one + sizeof(struct sockaddr_in)) : NULL;
    if (!one)
        return EAI_NONAME;
    struct sockaddr_in *a = (struct sockaddr_in *)(one + 1);
    *a = (struct sockaddr_in){.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    a->sin_port = htons((uint16_t)atoi(service));
    one->ai_addr = (struct sockaddr *)a;
    one->ai_addrlen = sizeof *a;
    *out = one;
    return 0;
}

void freeaddrinfo(struct addrinfo *list) {
    free(list);
}

static void let_answer(int answer) {
    pthread_mutex_lock(&names.lock);
    names.answer = answer;
    pthread_cond_broadcast(&names.changed);
    pthread_mutex_unlock(&names.lock);
}

static struct lt_redis *client_by_name(int64_t timeout) {
    char address[64];
    snprintf(address, sizeof address, "redis.test:%s", strchr(server.address, ':') + 1);
    struct lt_redis_options o = {.address = lt_span_cstr(address), .timeout = timeout, .owner = &events.owner};
    struct lt_redis *r = lt_redis_new(&loop, &o);
    cr_assert_not_null(r);
    server.answers = true;
    return r;
}

Test(redis, commands_wait_for_the_first_address) {
    struct lt_redis *r = client_by_name(60000);
    struct asked a, b;
    ask(r, &a, false);
    turns(&loop, TIMEOUT); // some looks
    ask(r, &b, false);
    turns(&loop, TIMEOUT);
    cr_expect(!a.done && !b.done && !lt_redis_is_open(r) && !lt_redis_has_address(r));
    let_answer(HERE);
    UNTIL(a.done && b.done);
    cr_expect(a.e == LT_OK && b.e == LT_OK && lt_redis_has_address(r));
    cr_expect(events.opened == 0 && events.ready == 1);
    lt_redis_free(r);
}

// `answer`: to the resolver's first question.
static void wait_in_vain(int answer) {
    struct lt_redis *r = client_by_name(TIMEOUT);
    struct asked a, b;
    let_answer(answer);
    int64_t began = lt_clock_mono();
    ask(r, &a, false);
    UNTIL(a.done);
    cr_expect_eq(a.e, LT_ERR_RESOLVE);
    cr_expect_geq(lt_clock_mono() - began, TIMEOUT);
    cr_expect(lt_redis_is_open(r) && events.opened == 1);
    for (int i = 0; i < 5; i++) { // from then on nobody waits, whatever the probes find
        turns(&loop, 50);
        ask(r, &b, false);
        UNTIL(b.done);
        cr_expect_eq(b.e, LT_ERR_REFUSED);
    }
    let_answer(HERE);
    UNTIL(!lt_redis_is_open(r));
    ask(r, &b, false);
    UNTIL(b.done);
    cr_expect(b.e == LT_OK && events.opened == 1 && events.closed == 1);
    lt_redis_free(r);
}

Test(redis, no_answer_of_the_resolver_in_time_is_away) {
    wait_in_vain(HELD);
}

Test(redis, no_such_name_is_away) {
    wait_in_vain(NOBODY);
}

Test(redis, ends_while_its_name_is_not_known) {
    struct lt_redis *r = client_by_name(60000);
    struct asked a;
    ask(r, &a, false);
    turns(&loop, TIMEOUT);
    let_answer(NOBODY); // the last one that goes waits for the resolver
    lt_redis_free(r);
    cr_expect(a.done && a.e == LT_ERR_CANCELED);
}

// A Redis that hangs up at once, and many clients: each waits longer and longer, and they do not come at the same time.
Test(redis, many_clients_come_back_one_after_the_other) {
    static struct lt_redis *all[CLIENTS];
    static struct asked asked[CLIENTS];
    server.hangs_up = true;
    for (unsigned i = 0; i < CLIENTS; i++) {
        all[i] = client();
        ask(all[i], &asked[i], false);
    }
    turns(&loop, BUCKET_MS * BUCKETS);
    unsigned late = 0, most = 0;
    for (unsigned i = BUCKETS / 2; i < BUCKETS; i++) { // the back-off has grown to its maximum: 1 to 2 s
        late += server.buckets[i];
        most = server.buckets[i] > most ? server.buckets[i] : most;
    }
    cr_expect(late >= CLIENTS && late <= 2 * CLIENTS + CLIENTS / 2, "%u tries in the last 2 s", late);
    cr_expect(most <= CLIENTS / 4, "%u tries in 100 ms", most);
    for (unsigned i = 0; i < CLIENTS; i++)
        lt_redis_free(all[i]);
}
