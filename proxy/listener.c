// SPDX-License-Identifier: Apache-2.0
#include "listener.h"

#include "client.h"
#include "process.h"

#include <errno.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

enum { BACKLOG = 1024, ACCEPT_AT_ONCE = 16, PAUSE_MS = 100, SIDE_CONNECTIONS = 1024 };

struct lt_listener {
    struct lt_list node;
    struct lt_worker *worker;
    int fd;
    bool proxy_header, tls;
    struct event event;
    struct lt_timer pause;
};

static bool set_error(char *error, size_t size, struct lt_span text, const char *what) {
    snprintf(error, size, "listen: cannot listen on %.*s: %s", (int)text.n, text.p, what);
    return false;
}

static const char *advice(int errno_value) {
    switch (errno_value) {
    case EADDRINUSE:
        return "address already in use; choose another port or end the program that holds it (a lethe that was "
               "just told to end drains first)";
    case EACCES:
        return "permission denied; choose a port above 1023 or a directory that this user may write to";
    case EADDRNOTAVAIL:
        return "no interface of this machine has this address; write one that it has, or 0.0.0.0 for all";
    default:
        return strerror(errno_value);
    }
}

static int open_one(const struct lt_address *a, bool share) {
    int one = 1, fd = socket(a->u.sa.sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -1;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (share)
        setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &one, sizeof one);
    if (bind(fd, &a->u.sa, a->size) == 0 && listen(fd, BACKLOG) == 0)
        return fd;
    int saved = errno;
    close(fd);
    errno = saved;
    return -1;
}

// A socket file that nobody answers on is what a killed process left behind.
static void remove_stale(const struct lt_address *a) {
    struct stat st;
    if (lstat(a->u.local.sun_path, &st) != 0 || !S_ISSOCK(st.st_mode))
        return;
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd >= 0 && connect(fd, &a->u.sa, a->size) != 0 && errno == ECONNREFUSED)
        unlink(a->u.local.sun_path);
    if (fd >= 0)
        close(fd);
}

// SO_REUSEPORT would share the port with another lethe of the same user in silence: a socket without it finds that out.
static bool is_free(const struct lt_address *a) {
    bool any_port = a->u.sa.sa_family == AF_INET ? a->u.v4.sin_port == 0 : a->u.v6.sin6_port == 0;
    if (any_port)
        return true;
    int fd = open_one(a, false);
    if (fd < 0)
        return false;
    close(fd);
    return true;
}

bool lt_listen(struct lt_span text, unsigned mode, unsigned n, int *fds, struct lt_address *bound, char *error,
               size_t size) {
    if (!lt_address_parse(text, bound))
        return set_error(error, size, text, "not an address of this machine; write \"127.0.0.1:8080\" or \"unix:/path\"");
    bool local = bound->u.sa.sa_family == AF_UNIX;
    if (local)
        remove_stale(bound);
    else if (!is_free(bound))
        return set_error(error, size, text, advice(errno));
    for (unsigned i = 0; i < n; i++) {
        fds[i] = local && i ? dup(fds[0]) : open_one(bound, !local);
        if (fds[i] < 0) {
            int saved = errno;
            while (i-- > 0)
                close(fds[i]);
            return set_error(error, size, text, advice(saved));
        }
        socklen_t length = sizeof bound->u;
        if (i == 0 && !local)
            getsockname(fds[0], &bound->u.sa, &length); // port 0: the others follow the first
    }
    if (local && mode && chmod(bound->u.local.sun_path, mode) != 0)
        LT_LOG(LT_LOG_WARN, "socket_mode", lt_fs("path", bound->u.local.sun_path), lt_fs("why", strerror(errno)));
    return true;
}

// Over the limit: the client is told, not left hanging; but by TLS, which would take a handshake.
static void refuse(struct lt_worker *w, int fd, bool tls) {
    static const char body[] = "503 Service Unavailable: limits.connections\n";
    char answer[512];
    int n = snprintf(
        answer, sizeof answer,
        "HTTP/1.1 503 Service Unavailable\r\nContent-Type: text/plain; charset=utf-8\r\n"
        "X-Lethe-Error: too_many_connections\r\nRetry-After: 1\r\nContent-Length: %zu\r\nConnection: close\r\n\r\n%s",
        sizeof body - 1, body);
    lt_worker_count(w, LT_M_REJECTS + LT_REJECT_CONNECTIONS, 1);
    if (!tls && send(fd, answer, (size_t)n, MSG_NOSIGNAL | MSG_DONTWAIT) < 0)
        LT_LOG(LT_LOG_DEBUG, "refuse_failed", lt_fn("errno", errno));
    close(fd);
}

static bool accept_one(struct lt_listener *l) {
    struct lt_address peer;
    memset(&peer, 0, sizeof peer);
    peer.size = sizeof peer.u;
    int fd = accept4(l->fd, &peer.u.sa, &peer.size, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd < 0)
        return errno == EINTR || errno == ECONNABORTED;
    if (peer.u.sa.sa_family != AF_UNIX) {
        int one = 1;
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    }
    unsigned limit = (unsigned)l->worker->generation->snapshot->core.limits->connections;
    bool side = l->worker->role != LT_ROLE_PROXY;
    if (side) // probes, metrics and the application's state are answered however many clients there are
        limit = SIDE_CONNECTIONS;
    if ((side ? l->worker->n_clients + 1 : lt_process_connections(1)) > limit) {
        if (!side)
            lt_process_connections(-1);
        refuse(l->worker, fd, l->tls);
        return true;
    }
    lt_client_new(l->worker, fd, lt_address_ip(&peer), l->proxy_header, l->tls);
    return true;
}

static void on_acceptable(evutil_socket_t fd, short what, void *arg) {
    (void)fd;
    (void)what;
    struct lt_listener *l = arg;
    for (unsigned i = 0; i < ACCEPT_AT_ONCE; i++) {
        if (accept_one(l))
            continue;
        if (errno == EMFILE || errno == ENFILE || errno == ENOMEM || errno == ENOBUFS) {
            LT_LOG(LT_LOG_ERROR, "accept_failed", lt_fs("why", strerror(errno)),
                   lt_fs("do", "raise the open-files limit (ulimit -n) or lower limits.connections"));
            event_del(&l->event);
            lt_timer_set(&l->worker->loop, &l->pause, PAUSE_MS);
        }
        return;
    }
}

static void on_pause_over(struct lt_timer *t) {
    event_add(&LT_ENTRY(t, struct lt_listener, pause)->event, NULL);
}

bool lt_listener_add(struct lt_worker *w, int fd, bool proxy_header, bool tls) {
    struct lt_listener *l = calloc(1, sizeof *l);
    if (!l) {
        close(fd);
        return false;
    }
    *l = (struct lt_listener){.worker = w, .fd = fd, .proxy_header = proxy_header, .tls = tls};
    lt_timer_init(&l->pause, on_pause_over);
    event_assign(&l->event, w->loop.base, fd, EV_READ | EV_PERSIST, on_acceptable, l);
    event_add(&l->event, NULL);
    lt_list_append(&w->listeners, &l->node);
    return true;
}

void lt_listener_close_all(struct lt_worker *w, bool accept_queued) {
    while (!lt_list_empty(&w->listeners)) {
        struct lt_listener *l = LT_ENTRY(w->listeners.next, struct lt_listener, node);
        while (accept_queued && accept_one(l)) {
        }
        lt_list_remove(&l->node);
        lt_timer_clear(&w->loop, &l->pause);
        event_del(&l->event);
        close(l->fd);
        free(l);
    }
}
