// SPDX-License-Identifier: Apache-2.0
// Clients with a session each, one request of a session under way at a time, for measurements on the loopback interface.
//
//   client SECONDS read|change SIZE < sessions
//
// A line of standard input is a session: its cookie (name=value), its id, the n that it stands at, and the ports that its requests go to
// in turn, a kept connection each. Each answer must be "<id> <n> <SIZE>" with the right n, which a change moves by one: anything else ends
// the run. What is under way at the end of the time is waited for. Prints one line of JSON; "n": where each session stands then.
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <time.h>
#include <unistd.h>

enum { SESSIONS = 256, PORTS = 4, IN = 8192, WAIT_MS = 30000 };

struct session {
    char cookie[256], id[64];
    unsigned long long n, requests;
    int fd[PORTS];
    unsigned n_ports;
    double began; // of the request under way
    size_t in_n;
    char in[IN];
};

static struct session sessions[SESSIONS];
static unsigned n_sessions, n_running;
static bool change;
static const char *size;
static float *took; // µs of each request
static size_t n_took, room;

__attribute__((noreturn, format(printf, 1, 2))) static void fail(const char *format, ...) {
    va_list a;
    va_start(a, format);
    fputs("client: ", stderr);
    vfprintf(stderr, format, a);
    fputc('\n', stderr);
    va_end(a);
    exit(1);
}

static double now_us(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}

static int dial(const char *port) {
    struct sockaddr_in a = {
        .sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(port)), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || connect(fd, (struct sockaddr *)&a, sizeof a) < 0)
        fail("port %s: %s", port, strerror(errno));
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int));
    return fd;
}

static void read_sessions(int loop) {
    char line[1024];
    while (fgets(line, sizeof line, stdin)) {
        struct session *s = &sessions[n_sessions];
        int at;
        if (n_sessions++ == SESSIONS || sscanf(line, "%255s %63s %llu%n", s->cookie, s->id, &s->n, &at) != 3)
            fail("line %u: no session, or too many", n_sessions);
        for (char *port = strtok(line + at, " \n"); port && s->n_ports < PORTS; port = strtok(NULL, " \n")) {
            struct epoll_event e = {.events = EPOLLIN, .data.ptr = s};
            int fd = s->fd[s->n_ports++] = dial(port);
            epoll_ctl(loop, EPOLL_CTL_ADD, fd, &e);
        }
    }
    n_running = n_sessions;
}

static int connection_of(const struct session *s) {
    return s->fd[s->requests % s->n_ports];
}

static void ask(struct session *s) {
    char request[512];
    int n = snprintf(request, sizeof request, "GET /%s HTTP/1.1\r\nHost: bench\r\nCookie: %s\r\n\r\n",
                     change ? "change" : "read", s->cookie);
    s->began = now_us();
    s->in_n = 0;
    if (send(connection_of(s), request, (size_t)n, 0) != n)
        fail("send: %s", strerror(errno));
}

// The end of a whole answer in `in`, or NULL: more must come.
static const char *end_of_answer(const struct session *s, const char **body) {
    const char *end = memmem(s->in, s->in_n, "\r\n\r\n", 4), *length = strcasestr(s->in, "\r\ncontent-length:");
    if (!end)
        return NULL;
    if (!length || length > end)
        fail("an answer without Content-Length: %s", s->in);
    *body = end + 4;
    end += 4 + strtoul(length + 17, NULL, 10);
    return end <= s->in + s->in_n ? end : NULL;
}

static void check(struct session *s, const char *body, const char *end) {
    char right[128];
    s->n += change;
    int n = snprintf(right, sizeof right, "%s %llu %s\n", s->id, s->n, size);
    if (strncmp(s->in, "HTTP/1.1 200", 12) != 0 || end - body != n || memcmp(body, right, (size_t)n) != 0)
        fail("instead of %.*s: %s", n - 1, right, s->in);
}

static void note(double us) {
    if (n_took == room) {
        room = room ? 2 * room : 65536;
        took = realloc(took, room * sizeof *took);
        if (!took)
            fail("no memory");
    }
    took[n_took++] = (float)us;
}

static void on_readable(struct session *s, double until) {
    const char *body = NULL;
    ssize_t got = recv(connection_of(s), s->in + s->in_n, IN - 1 - s->in_n, MSG_DONTWAIT);
    if (got < 0 && errno == EAGAIN)
        return; // the other connection of a session has no right to speak
    if (got <= 0)
        fail("the connection ended: %.*s", (int)s->in_n, s->in);
    s->in_n += (size_t)got;
    s->in[s->in_n] = '\0';
    const char *end = end_of_answer(s, &body);
    if (!end)
        return;
    double now = now_us();
    note(now - s->began);
    check(s, body, end);
    s->requests++;
    if (now < until)
        ask(s);
    else
        n_running--;
}

static int by_value(const void *a, const void *b) {
    float x = *(const float *)a, y = *(const float *)b;
    return (x > y) - (x < y);
}

static void report(double us) {
    qsort(took, n_took, sizeof *took, by_value);
    printf("{\"requests\":%zu,\"us\":%.0f,\"p50\":%.1f,\"p99\":%.1f,\"n\":[", n_took, us, (double)took[n_took / 2],
           (double)took[n_took * 99 / 100]);
    for (unsigned i = 0; i < n_sessions; i++)
        printf("%s%llu", i ? "," : "", sessions[i].n);
    printf("]}\n");
}

int main(int argc, char **argv) {
    if (argc != 4) {
        fprintf(stderr, "usage: client SECONDS read|change SIZE < sessions\n");
        return 2;
    }
    signal(SIGPIPE, SIG_IGN);
    change = strcmp(argv[2], "change") == 0;
    size = argv[3];
    int loop = epoll_create1(EPOLL_CLOEXEC);
    read_sessions(loop);
    double began = now_us(), until = began + atof(argv[1]) * 1e6;
    for (unsigned i = 0; i < n_sessions; i++)
        ask(&sessions[i]);
    while (n_running) {
        struct epoll_event got[SESSIONS];
        int n = epoll_wait(loop, got, SESSIONS, WAIT_MS);
        if (n == 0)
            fail("no answer within %d s", WAIT_MS / 1000);
        for (int i = 0; i < n; i++)
            on_readable(got[i].data.ptr, until);
    }
    if (n_took == 0)
        fail("no session");
    report(now_us() - began);
    return 0;
}
