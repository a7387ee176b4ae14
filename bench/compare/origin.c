// SPDX-License-Identifier: Apache-2.0
// A fast HTTP/1.1 origin with fixed answers, for measurements on the loopback interface: one
// thread, epoll, keep-alive, pipelining. It is no web server: it trusts what it reads.
//
//   origin PORT          listens on 127.0.0.1:PORT (0: any free one) and prints the port on stdout
//
//   GET /<n>[k|m|g]      200 with n bytes (k, m, g: powers of 1024), for example /1k, /64k, /1g
//   GET /login           200 and a session cookie: Set-Cookie: PHPSESSID=<26 characters>; path=/
//   GET /cookie          200 with the value of the request's Cookie field: shows what a proxy
//   passed on
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <arpa/inet.h>
#include <errno.h>
#include <inttypes.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/uio.h>
#include <unistd.h>

enum { IN_MAX = 16384, OUT_MAX = IN_MAX + 512, FILL_MAX = 262144, EVENTS = 256 };

struct conn {
    int fd;
    bool waits_out;        // registered for writability
    bool close;            // close when the answer is out
    size_t in_n;           // bytes in `in`
    uint64_t skip;         // bytes of a request body still to be dropped
    size_t out_off, out_n; // head, and a short body, of the answer
    uint64_t body;         // bytes of fill still to be sent behind it
    char in[IN_MAX], out[OUT_MAX];
};

static int loop;
static char fill[FILL_MAX];

static void die(const char *what) {
    perror(what);
    exit(1);
}

// ---- the answer ----

// The value of field `name` ("\r\nname:", lower case letters match both) in a head, or NULL; *n:
// its length.
static const char *field(const char *head, size_t head_n, const char *name, size_t *n) {
    size_t name_n = strlen(name);
    for (const char *p = head, *end = head + head_n;
         (p = memchr(p, '\n', (size_t)(end - p))) != NULL;) {
        p++;
        if ((size_t)(end - p) > name_n && p[name_n] == ':' && strncasecmp(p, name, name_n) == 0) {
            p += name_n + 1;
            while (*p == ' ')
                p++;
            const char *eol = memchr(p, '\r', (size_t)(end - p));
            *n = (size_t)(eol - p);
            return p;
        }
    }
    return NULL;
}

static uint64_t size_of_path(const char *path) {
    char *unit;
    uint64_t n = strtoull(path, &unit, 10);
    return *unit == 'k' ? n << 10 : *unit == 'm' ? n << 20 : *unit == 'g' ? n << 30 : n;
}

static void new_session(char *id, size_t n) {
    static uint64_t x = 0x9e3779b97f4a7c15u;
    for (size_t i = 0; i < n; i++) {
        x = x * 6364136223846793005u + 1442695040888963407u;
        id[i] = "abcdefghijklmnopqrstuvwxyz012345"[x >> 59];
    }
}

// Writes the answer to the request with the head in[0..head_n) into c->out and c->body.
static void answer(struct conn *c, size_t head_n) {
    const char *path = memchr(c->in, ' ', head_n), *text = "", *more = "";
    char cookie[96];
    size_t text_n = 0, n;
    path = path ? path + 1 : "/";
    uint64_t length;
    if (strncmp(path, "/login", 6) == 0) {
        char id[27] = {0};
        new_session(id, 26);
        snprintf(cookie, sizeof cookie, "Set-Cookie: PHPSESSID=%s; path=/\r\n", id);
        more = cookie;
        text = "hello\n";
        length = text_n = 6;
    } else if (strncmp(path, "/cookie", 7) == 0) {
        const char *v = field(c->in, head_n, "Cookie", &text_n);
        text = v ? v : "";
        length = text_n;
    } else {
        length = size_of_path(path + 1);
    }
    const char *v = field(c->in, head_n, "Connection", &n);
    c->close = v && n == 5 && strncasecmp(v, "close", 5) == 0;
    v = field(c->in, head_n, "Content-Length", &n);
    c->skip = v ? strtoull(v, NULL, 10) : 0;
    int w = snprintf(c->out, 512,
                     "HTTP/1.1 200 OK\r\nDate: Mon, 23 Nov 2026 12:00:00 GMT\r\nServer: origin\r\n"
                     "Cache-Control: no-cache\r\nContent-Type: "
                     "application/octet-stream\r\n%sContent-Length: %" PRIu64 "\r\n%s\r\n",
                     more, length, c->close ? "Connection: close\r\n" : "");
    memcpy(c->out + w, text, text_n);
    c->out_off = 0;
    c->out_n = (size_t)w + text_n;
    c->body = length - text_n;
    if (memcmp(c->in, "HEAD ", 5) == 0) {
        c->out_n -= text_n;
        c->body = 0;
    }
}

// ---- the connection ----

static void watch_out(struct conn *c, bool on) {
    if (c->waits_out == on)
        return;
    c->waits_out = on;
    struct epoll_event ev = {.events = on ? EPOLLOUT : EPOLLIN, .data.ptr = c};
    epoll_ctl(loop, EPOLL_CTL_MOD, c->fd, &ev);
}

// Sends what stands in out and body. False: the connection is dead.
static bool flush_out(struct conn *c) {
    while (c->out_off < c->out_n || c->body > 0) {
        struct iovec v[2] = {
            {.iov_base = c->out + c->out_off, .iov_len = c->out_n - c->out_off},
            {.iov_base = fill, .iov_len = c->body < FILL_MAX ? (size_t)c->body : FILL_MAX},
        };
        ssize_t n = writev(c->fd, v, 2);
        if (n < 0) {
            watch_out(c, errno == EAGAIN);
            return errno == EAGAIN;
        }
        size_t head = (size_t)n < v[0].iov_len ? (size_t)n : v[0].iov_len;
        c->out_off += head;
        c->body -= (size_t)n - head;
    }
    watch_out(c, false);
    return !c->close;
}

// Answers all whole requests in c->in, as far as the client takes the answers. False: the
// connection is over.
static bool serve(struct conn *c) {
    size_t off = 0;
    while (off < c->in_n && !c->waits_out) {
        if (c->skip > 0) {
            size_t n = c->in_n - off < c->skip ? c->in_n - off : (size_t)c->skip;
            c->skip -= n;
            off += n;
            continue;
        }
        memmove(c->in, c->in + off, c->in_n - off);
        c->in_n -= off;
        off = 0;
        const char *end = memmem(c->in, c->in_n, "\r\n\r\n", 4);
        if (!end)
            return c->in_n < IN_MAX;
        off = (size_t)(end - c->in) + 4;
        answer(c, off);
        if (!flush_out(c))
            return false;
    }
    memmove(c->in, c->in + off, c->in_n - off);
    c->in_n -= off;
    return true;
}

static bool ready(struct conn *c, uint32_t events) {
    if (c->waits_out)
        return !(events & (EPOLLERR | EPOLLHUP)) && flush_out(c) && serve(c);
    ssize_t n = recv(c->fd, c->in + c->in_n, IN_MAX - c->in_n, 0);
    if (n <= 0)
        return n < 0 && errno == EAGAIN;
    c->in_n += (size_t)n;
    return serve(c);
}

static void accept_all(int listener) {
    int fd;
    while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
        struct conn *c = calloc(1, sizeof *c);
        if (!c)
            die("origin: memory");
        c->fd = fd;
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int));
        struct epoll_event ev = {.events = EPOLLIN, .data.ptr = c};
        if (epoll_ctl(loop, EPOLL_CTL_ADD, fd, &ev) < 0)
            die("origin: epoll_ctl");
    }
}

static int listen_on(unsigned port) {
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    struct sockaddr_in a = {.sin_family = AF_INET,
                            .sin_port = htons((uint16_t)port),
                            .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t n = sizeof a;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &(int){1}, sizeof(int));
    if (fd < 0 || bind(fd, (struct sockaddr *)&a, n) < 0 || listen(fd, 4096) < 0)
        die("origin: listen");
    getsockname(fd, (struct sockaddr *)&a, &n);
    printf("%u\n", ntohs(a.sin_port));
    fflush(stdout);
    return fd;
}

int main(int argc, char **argv) {
    if (argc != 2) {
        fprintf(stderr, "usage: origin PORT\n");
        return 2;
    }
    signal(SIGPIPE, SIG_IGN);
    memset(fill, 'x', sizeof fill);
    int listener = listen_on((unsigned)atoi(argv[1]));
    loop = epoll_create1(EPOLL_CLOEXEC);
    struct epoll_event ev = {.events = EPOLLIN, .data.ptr = NULL}, got[EVENTS];
    epoll_ctl(loop, EPOLL_CTL_ADD, listener, &ev);
    for (;;) {
        int n = epoll_wait(loop, got, EVENTS, -1);
        for (int i = 0; i < n; i++) {
            struct conn *c = got[i].data.ptr;
            if (!c) {
                accept_all(listener);
            } else if (!ready(c, got[i].events)) {
                close(c->fd);
                free(c);
            }
        }
    }
}
