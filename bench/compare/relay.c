// SPDX-License-Identifier: Apache-2.0
// A bare TCP relay: the floor that every proxy in the comparison stands on. One thread, epoll,
// level-triggered events registered once; each client gets an upstream connection of its own for as
// long as it stays, and bytes are copied both ways without being looked at. What a proxy costs
// beyond this is what it does with HTTP.
//
//   relay PORT UPSTREAM_PORT     both on 127.0.0.1; PORT 0: any free one; prints its port on stdout
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

enum { CHUNK = 65536, EVENTS = 256 };

struct side {
    int fd;
    uint32_t events; // as registered
    bool eof;        // the peer at this end will send nothing more
    bool shut;       // we will send nothing more to it
    char *pending;   // bytes for this end that its socket did not take; NULL: none
    size_t pending_off, pending_n;
    struct pair *pair;
    struct side *other;
};

struct pair {
    struct side client, upstream;
    bool dead;
    struct pair *next_dead;
};

static int loop;
static struct sockaddr_in upstream_address;
static struct pair *dead_pairs; // freed at the end of the loop's turn: a later event of the turn
                                // may still name them
static char chunk[CHUNK];

static void die(const char *what) {
    perror(what);
    exit(1);
}

static void end_pair(struct pair *p) {
    if (p->dead)
        return;
    p->dead = true;
    close(p->client.fd);
    close(p->upstream.fd);
    p->next_dead = dead_pairs;
    dead_pairs = p;
}

static void free_dead(void) {
    while (dead_pairs) {
        struct pair *p = dead_pairs;
        dead_pairs = p->next_dead;
        free(p->client.pending);
        free(p->upstream.pending);
        free(p);
    }
}

// Reads from an end only while the other one takes what is read.
static void watch(struct side *s) {
    uint32_t want = (s->eof || s->other->pending ? 0u : EPOLLIN) | (s->pending ? EPOLLOUT : 0u);
    if (want == s->events)
        return;
    s->events = want;
    struct epoll_event ev = {.events = want, .data.ptr = s};
    epoll_ctl(loop, EPOLL_CTL_MOD, s->fd, &ev);
}

static void keep(struct side *to, const char *data, size_t n) {
    to->pending = malloc(n);
    if (!to->pending)
        die("relay: memory");
    memcpy(to->pending, data, n);
    to->pending_off = 0;
    to->pending_n = n;
}

// Passes an end of stream on once all before it is out. False: both directions are over.
static bool pass_eof(struct side *from) {
    struct side *to = from->other;
    if (from->eof && !to->pending && !to->shut) {
        to->shut = true;
        shutdown(to->fd, SHUT_WR);
    }
    return !(from->shut && to->shut);
}

static bool readable(struct side *from) {
    struct side *to = from->other;
    ssize_t n = recv(from->fd, chunk, sizeof chunk, 0);
    if (n < 0)
        return errno == EAGAIN;
    if (n == 0) {
        from->eof = true;
        return pass_eof(from);
    }
    ssize_t sent = send(to->fd, chunk, (size_t)n, MSG_NOSIGNAL);
    if (sent < 0 && errno != EAGAIN)
        return false;
    if (sent < n)
        keep(to, chunk + (sent < 0 ? 0 : sent), (size_t)(n - (sent < 0 ? 0 : sent)));
    return true;
}

static bool writable(struct side *to) {
    ssize_t sent = send(to->fd, to->pending + to->pending_off, to->pending_n - to->pending_off, MSG_NOSIGNAL);
    if (sent < 0)
        return errno == EAGAIN;
    to->pending_off += (size_t)sent;
    if (to->pending_off < to->pending_n)
        return true;
    free(to->pending);
    to->pending = NULL;
    return pass_eof(to->other);
}

static void ready(struct side *s, uint32_t events) {
    struct pair *p = s->pair;
    if (p->dead)
        return;
    bool live = true;
    if (s->pending && (events & (EPOLLOUT | EPOLLERR | EPOLLHUP)))
        live = writable(s);
    if (live && (s->events & EPOLLIN) && (events & (EPOLLIN | EPOLLERR | EPOLLHUP)))
        live = readable(s);
    else if (live && s->eof && (events & (EPOLLERR | EPOLLHUP)))
        live = false;
    if (!live) {
        end_pair(p);
        return;
    }
    watch(s);
    watch(s->other);
}

static void add(struct side *s, struct side *other, struct pair *p, int fd) {
    *s = (struct side){.fd = fd, .events = EPOLLIN, .pair = p, .other = other};
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int));
    struct epoll_event ev = {.events = EPOLLIN, .data.ptr = s};
    if (epoll_ctl(loop, EPOLL_CTL_ADD, fd, &ev) < 0)
        die("relay: epoll_ctl");
}

static void accept_all(int listener) {
    int fd;
    while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
        struct pair *p = calloc(1, sizeof *p);
        int up = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
        if (!p || up < 0)
            die("relay");
        if (connect(up, (struct sockaddr *)&upstream_address, sizeof upstream_address) < 0 && errno != EINPROGRESS)
            die("relay: connect");
        add(&p->client, &p->upstream, p, fd);
        add(&p->upstream, &p->client, p, up);
    }
}

static int listen_on(struct sockaddr_in a) {
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    socklen_t n = sizeof a;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &(int){1}, sizeof(int));
    if (fd < 0 || bind(fd, (struct sockaddr *)&a, n) < 0 || listen(fd, 4096) < 0)
        die("relay: listen");
    getsockname(fd, (struct sockaddr *)&a, &n);
    printf("%u\n", ntohs(a.sin_port));
    fflush(stdout);
    return fd;
}

int main(int argc, char **argv) {
    if (argc != 3) {
        fprintf(stderr, "usage: relay PORT UPSTREAM_PORT\n");
        return 2;
    }
    struct sockaddr_in a = {
        .sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(argv[1])), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    upstream_address = a;
    upstream_address.sin_port = htons((uint16_t)atoi(argv[2]));
    int listener = listen_on(a);
    loop = epoll_create1(EPOLL_CLOEXEC);
    struct epoll_event ev = {.events = EPOLLIN, .data.ptr = NULL}, got[EVENTS];
    epoll_ctl(loop, EPOLL_CTL_ADD, listener, &ev);
    for (;;) {
        int n = epoll_wait(loop, got, EVENTS, -1);
        for (int i = 0; i < n; i++) {
            if (got[i].data.ptr)
                ready(got[i].data.ptr, got[i].events);
            else
                accept_all(listener);
        }
        free_dead();
    }
}
