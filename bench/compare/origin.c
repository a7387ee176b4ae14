// SPDX-License-Identifier: Apache-2.0
// A fast HTTP/1.1 origin with fixed answers, for measurements on the loopback interface: one
// thread, epoll, keep-alive, pipelining. It is no web server: it trusts what it reads.
//
//   origin PORT          listens on 127.0.0.1:PORT (0: any free one) and prints the port on stdout
//
//   GET /                200 with 1 KB
//   GET /<n>[k|m|g]      200 with n bytes (k, m, g: powers of 1024), for example /1k, /64k, /1g
//   POST anything        200 when the whole body (Content-Length) has come: its length in digits
//   GET /login           200 and a session cookie as express-session makes it: connect.sid=s%3A<id>.<signature>
//   GET /private         200 with 1 KB if such a cookie came and its signature is right, 403 otherwise
//   GET /cookie          200 with the value of the request's Cookie field: shows what a proxy passed on
//   GET /connections     200 with the number of connections accepted so far: shows whether a proxy keeps its own
//   GET /traffic         200 with the bytes of all bodies so far, sent and received together
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

enum { IN_MAX = 65536, OUT_MAX = IN_MAX + 512, FILL_MAX = 262144, EVENTS = 256, ID_SIZE = 32, SIGNATURE_SIZE = 16 };

struct conn {
    int fd;
    bool waits_out;        // registered for writability
    bool close;            // close when the answer is out
    bool due;              // the answer to a POST is due when its body has come
    size_t in_n;           // bytes in `in`
    uint64_t skip, length; // of a request body: bytes still to be dropped, all of them
    size_t out_off, out_n; // head, and a short body, of the answer
    uint64_t body;         // bytes of fill still to be sent behind it
    char in[IN_MAX], out[OUT_MAX];
};

// What is said in an answer: a status, more header lines, and a body of `length` bytes that begins with text.
struct reply {
    const char *status, *more, *text;
    size_t text_n;
    uint64_t length;
};

static int loop;
static uint64_t accepted, traffic;
static char fill[FILL_MAX];

static void die(const char *what) {
    perror(what);
    exit(1);
}

// ---- the answer ----

// The value of field `name` in a head, or NULL; *n: its length.
static const char *field(const char *head, size_t head_n, const char *name, size_t *n) {
    size_t name_n = strlen(name);
    for (const char *p = head, *end = head + head_n; (p = memchr(p, '\n', (size_t)(end - p))) != NULL;) {
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

// Not a secret: it only tells an id of ours from one that was cut or swapped on the way.
static void sign(const char *id, char signature[static SIGNATURE_SIZE + 1]) {
    uint64_t h = 0xcbf29ce484222325u;
    for (size_t i = 0; i < ID_SIZE; i++)
        h = (h ^ (unsigned char)id[i]) * 0x100000001b3u;
    snprintf(signature, SIGNATURE_SIZE + 1, "%016" PRIx64, h);
}

static void new_session(char id[static ID_SIZE + 1]) {
    static uint64_t x = 0x9e3779b97f4a7c15u;
    for (size_t i = 0; i < ID_SIZE; i++) {
        x = x * 6364136223846793005u + 1442695040888963407u;
        id[i] = "abcdefghijklmnopqrstuvwxyz012345"[x >> 59];
    }
    id[ID_SIZE] = 0;
}

static bool has_session(const char *cookie, size_t n) {
    static const char name[] = "connect.sid=s%3A";
    char signature[SIGNATURE_SIZE + 1];
    const char *id = cookie ? memmem(cookie, n, name, sizeof name - 1) : NULL;
    if (!id || (size_t)(cookie + n - id) < sizeof name - 1 + ID_SIZE + 1 + SIGNATURE_SIZE)
        return false;
    id += sizeof name - 1;
    sign(id, signature);
    return id[ID_SIZE] == '.' && memcmp(id + ID_SIZE + 1, signature, SIGNATURE_SIZE) == 0;
}

// Writes the answer into c->out and c->body.
static void put_answer(struct conn *c, const struct reply *r) {
    int w =
        snprintf(c->out, 512,
                 "HTTP/1.1 %s\r\nDate: Mon, 23 Nov 2026 12:00:00 GMT\r\nServer: origin\r\nCache-Control: no-cache\r\n"
                 "Content-Type: application/octet-stream\r\n%sContent-Length: %" PRIu64 "\r\n%s\r\n",
                 r->status, r->more, r->length, c->close ? "Connection: close\r\n" : "");
    memcpy(c->out + w, r->text, r->text_n);
    c->out_off = 0;
    c->out_n = (size_t)w + r->text_n;
    c->body = r->length - r->text_n;
}

static void answer_number(struct conn *c, uint64_t number) {
    char digits[24];
    int n = snprintf(digits, sizeof digits, "%" PRIu64 "\n", number);
    put_answer(c, &(struct reply){"200 OK", "", digits, (size_t)n, (uint64_t)n});
}

static void answer_login(struct conn *c) {
    char id[ID_SIZE + 1], signature[SIGNATURE_SIZE + 1], line[128];
    new_session(id);
    sign(id, signature);
    snprintf(line, sizeof line, "Set-Cookie: connect.sid=s%%3A%s.%s; Path=/; HttpOnly\r\n", id, signature);
    put_answer(c, &(struct reply){"200 OK", line, "hello\n", 6, 6});
}

static bool begins(const char *path, const char *with) {
    return strncmp(path, with, strlen(with)) == 0;
}

static void answer_get(struct conn *c, size_t head_n, const char *path) {
    struct reply r = {.status = "200 OK", .more = "", .text = ""};
    size_t n = 0;
    const char *cookie = begins(path, "/private") || begins(path, "/cookie") ? field(c->in, head_n, "Cookie", &n) : NULL;
    if (begins(path, "/cookie")) {
        r.text = cookie ? cookie : "";
        r.text_n = r.length = n;
    } else if (begins(path, "/private")) {
        r.length = 1024;
        if (!has_session(cookie, n))
            r.status = "403 Forbidden";
    } else {
        r.length = begins(path, "/ ") ? 1024 : size_of_path(path + 1);
    }
    put_answer(c, &r);
    if (memcmp(c->in, "HEAD ", 5) == 0) {
        c->out_n -= r.text_n;
        c->body = 0;
    }
}

// Answers the request with the head in[0..head_n), or notes that the answer is due behind the body.
static void answer(struct conn *c, size_t head_n) {
    size_t n;
    const char *path = memchr(c->in, ' ', head_n), *v = field(c->in, head_n, "Connection", &n);
    path = path ? path + 1 : "/ ";
    c->close = v && n == 5 && strncasecmp(v, "close", 5) == 0;
    v = field(c->in, head_n, "Content-Length", &n);
    c->skip = c->length = v ? strtoull(v, NULL, 10) : 0;
    if (memcmp(c->in, "POST ", 5) == 0)
        c->due = true;
    else if (begins(path, "/login"))
        answer_login(c);
    else if (begins(path, "/connections"))
        answer_number(c, accepted);
    else if (begins(path, "/traffic"))
        answer_number(c, traffic);
    else
        answer_get(c, head_n, path);
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
        traffic += (size_t)n - head;
    }
    watch_out(c, false);
    return !c->close;
}

// Drops what has come of a request body; returns how many bytes that were.
static size_t skip_body(struct conn *c, size_t off) {
    size_t n = c->in_n - off < c->skip ? c->in_n - off : (size_t)c->skip;
    c->skip -= n;
    traffic += n;
    return n;
}

// Answers all whole requests in c->in, as far as the client takes the answers. False: the connection is over.
static bool serve(struct conn *c) {
    size_t off = 0;
    while (off < c->in_n && !c->waits_out) {
        if (c->skip == 0) {
            memmove(c->in, c->in + off, c->in_n - off);
            c->in_n -= off;
            const char *end = memmem(c->in, c->in_n, "\r\n\r\n", 4);
            if (!end)
                return c->in_n < IN_MAX;
            off = (size_t)(end - c->in) + 4;
            answer(c, off);
        }
        off += skip_body(c, off);
        if (c->due && c->skip > 0)
            break;
        if (c->due)
            answer_number(c, c->length);
        c->due = false;
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
        accepted++;
        c->fd = fd;
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int));
        struct epoll_event ev = {.events = EPOLLIN, .data.ptr = c};
        if (epoll_ctl(loop, EPOLL_CTL_ADD, fd, &ev) < 0)
            die("origin: epoll_ctl");
    }
}

static int listen_on(unsigned port) {
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    struct sockaddr_in a = {
        .sin_family = AF_INET, .sin_port = htons((uint16_t)port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
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
