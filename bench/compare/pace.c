// SPDX-License-Identifier: Apache-2.0
// A client of its own pace, for what a saturating load generator does not show. Everything on the loopback interface.
//
//   pace rate  PORT REQUEST ANSWER CONNECTIONS RATE SECONDS
//   pace hold  PORT REQUEST ANSWER CONNECTIONS
//   pace turns PORT REQUEST ANSWER COUNT
//
// REQUEST is a file with the bytes of a request; each answer must have the status 200 and ANSWER bytes of body: anything else ends the run.
//
// rate: an open loop. Request number k is due k / RATE seconds after the beginning, whether or not earlier ones have been answered, and
// its latency counts from then: a program that stands still makes the requests late that should have gone out meanwhile. A request that
// finds no idle connection waits for one. hold: each connection does one request and stays idle; prints "ready" and waits to be ended.
// turns: requests on one connection, one after another. rate and turns print one line of JSON.
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <time.h>
#include <unistd.h>

enum { REQUEST_MAX = 65536, HEAD_MAX = 2048, IN = 262144, EVENTS = 256, WAIT_S = 30 };

struct conn {
    int fd;
    int64_t due;   // ns: when the request under way should have gone out
    bool in_body;  // the head has been read
    uint64_t left; // of the body
    size_t head_n; // bytes of the head so far
    struct conn *next_idle;
    char head[HEAD_MAX];
};

static char request[REQUEST_MAX], in[IN];
static size_t request_n;
static uint64_t answer_size;
static struct sockaddr_in address = {.sin_family = AF_INET};

// The requests of an open loop: number `issued` is the next that has a due time, `sent` the next that goes out.
static struct conn *idle, **idle_end = &idle; // first in, first out: all of them are used
static float *took;                           // µs
static uint64_t wanted, issued, sent, answered;

__attribute__((noreturn, format(printf, 1, 2))) static void fail(const char *format, ...) {
    va_list a;
    va_start(a, format);
    fputs("pace: ", stderr);
    vfprintf(stderr, format, a);
    fputc('\n', stderr);
    va_end(a);
    exit(1);
}

static int64_t now_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static void read_request(const char *path) {
    FILE *f = fopen(path, "rb");
    request_n = f ? fread(request, 1, sizeof request, f) : 0;
    if (!f || request_n == 0 || request_n == sizeof request)
        fail("%s: no request of less than %d bytes", path, REQUEST_MAX);
    fclose(f);
}

static void open_connection(struct conn *c) {
    struct timeval limit = {.tv_sec = WAIT_S};
    c->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int));
    setsockopt(c->fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    if (c->fd < 0 || connect(c->fd, (struct sockaddr *)&address, sizeof address) < 0)
        fail("connect: %s", strerror(errno));
}

static void send_request(struct conn *c) {
    c->in_body = false;
    c->head_n = 0;
    if (send(c->fd, request, request_n, MSG_NOSIGNAL) != (ssize_t)request_n)
        fail("send: %s", strerror(errno));
}

// The head is whole: what does it say?
static void read_head(struct conn *c) {
    c->head[c->head_n - 1] = 0;
    const char *length = strcasestr(c->head, "\ncontent-length:");
    if (strncmp(c->head, "HTTP/1.1 200", 12) != 0)
        fail("an answer begins with %.16s", c->head);
    if (!length || strtoull(length + 16, NULL, 10) != answer_size)
        fail("an answer has another length");
    c->left = answer_size;
    c->in_body = true;
}

// What came; true: the answer is whole.
static bool take(struct conn *c, const char *p, size_t n) {
    while (n > 0 && !c->in_body) {
        if (c->head_n == HEAD_MAX - 1)
            fail("an answer's head is over %d bytes", HEAD_MAX);
        c->head[c->head_n++] = *p++;
        n--;
        if (c->head_n >= 4 && memcmp(c->head + c->head_n - 4, "\r\n\r\n", 4) == 0)
            read_head(c);
    }
    if (n > c->left)
        fail("more came than was asked for");
    c->left -= n;
    return c->in_body && c->left == 0;
}

// Reads what there is; true: the answer is whole.
static bool read_some(struct conn *c) {
    ssize_t n = recv(c->fd, in, sizeof in, 0);
    if (n == 0)
        fail("a connection was closed");
    if (n < 0 && errno != EAGAIN)
        fail("recv: %s", strerror(errno));
    return n > 0 && take(c, in, (size_t)n);
}

// One request, waited for.
static void one_turn(struct conn *c) {
    send_request(c);
    int64_t until = now_ns() + (int64_t)WAIT_S * 1000000000;
    while (!read_some(c))
        if (now_ns() > until)
            fail("no answer within %d s", WAIT_S);
}

// ---- the open loop ----

static void put_idle(struct conn *c) {
    c->next_idle = NULL;
    *idle_end = c;
    idle_end = &c->next_idle;
}

static struct conn *take_idle(void) {
    struct conn *c = idle;
    idle = c->next_idle;
    if (!idle)
        idle_end = &idle;
    return c;
}

static void open_all(struct conn *conns, unsigned n, int loop) {
    for (unsigned i = 0; i < n; i++) {
        struct epoll_event ev = {.events = EPOLLIN, .data.ptr = &conns[i]};
        open_connection(&conns[i]);
        one_turn(&conns[i]); // so that the program's own connections are there, too
        if (fcntl(conns[i].fd, F_SETFL, O_NONBLOCK) < 0 || epoll_ctl(loop, EPOLL_CTL_ADD, conns[i].fd, &ev) < 0)
            fail("epoll: %s", strerror(errno));
        put_idle(&conns[i]);
    }
}

// Sends what is due and finds an idle connection; returns the ns until the next one is due, -1 when only answers are waited for.
static int64_t send_due(int64_t began, double gap) {
    int64_t now = now_ns();
    while (issued < wanted && began + (int64_t)((double)issued * gap) <= now)
        issued++;
    for (; sent < issued && idle; sent++) {
        struct conn *c = take_idle();
        c->due = began + (int64_t)((double)sent * gap);
        send_request(c);
    }
    if (issued == wanted)
        return -1;
    int64_t next = began + (int64_t)((double)issued * gap) - now_ns();
    return next > 0 ? next : 0;
}

static void run_loop(int loop, double gap) {
    struct epoll_event got[EVENTS];
    int64_t began = now_ns();
    while (answered < wanted) {
        int64_t wait = send_due(began, gap);
        struct timespec limit = {.tv_sec = WAIT_S};
        if (wait >= 0)
            limit = (struct timespec){.tv_sec = wait / 1000000000, .tv_nsec = wait % 1000000000};
        int n = epoll_pwait2(loop, got, EVENTS, &limit, NULL);
        if (n == 0 && wait < 0)
            fail("no answer within %d s", WAIT_S);
        for (int i = 0; i < n; i++) {
            struct conn *c = got[i].data.ptr;
            if (read_some(c)) {
                took[answered++] = (float)(now_ns() - c->due) / 1000;
                put_idle(c);
            }
        }
    }
}

static int by_size(const void *a, const void *b) {
    float x = *(const float *)a, y = *(const float *)b;
    return (x > y) - (x < y);
}

static double percentile(double share) {
    uint64_t at = (uint64_t)(share * (double)answered);
    return (double)took[at < answered ? at : answered - 1];
}

static void run_rate(unsigned connections, double rate, double seconds) {
    int loop = epoll_create1(EPOLL_CLOEXEC);
    wanted = (uint64_t)(rate * seconds);
    took = malloc((wanted + 1) * sizeof *took);
    struct conn *conns = calloc(connections, sizeof *conns);
    if (loop < 0 || !took || !conns || wanted == 0)
        fail("memory, or no request to send");
    prctl(PR_SET_TIMERSLACK, 1L);
    open_all(conns, connections, loop);
    int64_t began = now_ns();
    run_loop(loop, 1e9 / rate);
    int64_t us = (now_ns() - began) / 1000;
    qsort(took, answered, sizeof *took, by_size);
    printf("{\"requests\":%llu,\"us\":%lld,\"p50\":%.1f,\"p99\":%.1f,\"max\":%.1f}\n", (unsigned long long)answered,
           (long long)us, percentile(0.5), percentile(0.99), percentile(1));
}

static void run_hold(unsigned connections) {
    struct conn *c = calloc(1, sizeof *c);
    for (unsigned i = 0; i < connections; i++) {
        open_connection(c);
        one_turn(c);
    }
    printf("ready\n");
    fflush(stdout);
    pause();
}

static void run_turns(uint64_t count) {
    struct conn *c = calloc(1, sizeof *c);
    open_connection(c);
    for (uint64_t i = 0; i < count; i++)
        one_turn(c);
    printf("{\"requests\":%llu}\n", (unsigned long long)count);
}

int main(int argc, char **argv) {
    const char *how = argc > 1 ? argv[1] : "";
    bool rate = argc == 8 && strcmp(how, "rate") == 0, hold = argc == 6 && strcmp(how, "hold") == 0;
    if (!rate && !hold && !(argc == 6 && strcmp(how, "turns") == 0)) {
        fprintf(stderr,
                "usage: pace rate PORT REQUEST ANSWER CONNECTIONS RATE SECONDS\n"
                "       pace hold PORT REQUEST ANSWER CONNECTIONS\n       pace turns PORT REQUEST ANSWER COUNT\n");
        return 2;
    }
    address.sin_port = htons((uint16_t)atoi(argv[2]));
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    read_request(argv[3]);
    answer_size = strtoull(argv[4], NULL, 10);
    unsigned n = (unsigned)atoi(argv[5]);
    if (rate)
        run_rate(n, atof(argv[6]), atof(argv[7]));
    else if (hold)
        run_hold(n);
    else
        run_turns(n);
    return 0;
}
