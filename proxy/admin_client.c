// SPDX-License-Identifier: Apache-2.0
#include "admin_client.h"

#include "base/clock.h"
#include "net/address.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { PIECE = 4096 };

static bool await(int fd, short events, int64_t deadline) {
    struct pollfd p = {.fd = fd, .events = events};
    int64_t left = deadline - lt_clock_mono();
    int n = left > 0 ? poll(&p, 1, (int)left) : 0;
    if (n == 0)
        errno = ETIMEDOUT;
    return n > 0;
}

// The socket, or -1: errno says why.
static int dial(const struct lt_address *a, int64_t deadline) {
    int fd = socket(a->u.sa.sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    int error = 0;
    socklen_t size = sizeof error;
    if (fd < 0 || connect(fd, &a->u.sa, a->size) == 0)
        return fd;
    if (errno == EINPROGRESS && await(fd, POLLOUT, deadline) &&
        getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size) == 0 && error == 0)
        return fd;
    error = error ? error : errno;
    close(fd);
    errno = error;
    return -1;
}

// The whole answer. False: errno says why.
static bool fetch(int fd, const char *request, struct lt_buf *buf, int64_t deadline) {
    char ask[96];
    int size = snprintf(ask, sizeof ask, "%s HTTP/1.0\r\nHost: lethe\r\nContent-Length: 0\r\n\r\n", request);
    if (send(fd, ask, (size_t)size, MSG_NOSIGNAL) != size)
        return false;
    while (await(fd, POLLIN, deadline)) {
        char *room = lt_buf_reserve(buf, PIECE);
        if (!room) {
            errno = EMSGSIZE;
            return false;
        }
        ssize_t n = recv(fd, room, PIECE, 0);
        if (n == 0)
            return true;
        if (n < 0 && errno != EAGAIN)
            return false;
        lt_buf_grew(buf, n > 0 ? (size_t)n : 0);
    }
    return false;
}

static bool read_answer(struct lt_span text, struct lt_admin_answer *a) {
    static const struct lt_span version = {"HTTP/1.1 ", 9};
    const char *end = text.p ? memmem(text.p, text.n, "\r\n\r\n", 4) : NULL;
    if (!end || !lt_span_starts(text, version))
        return false;
    a->status = (unsigned)strtoul(text.p + version.n, NULL, 10); // the head's end stands behind it
    a->head = lt_span(text.p, (size_t)(end - text.p) + 4);
    a->body = lt_span(end + 4, text.n - a->head.n);
    return true;
}

const char *lt_admin_ask(struct lt_span address, const char *request, int64_t limit, struct lt_buf *buf,
                         struct lt_admin_answer *answer) {
    int64_t deadline = lt_clock_mono() + limit;
    struct lt_address a;
    if (!address.n)
        return "the option \"admin\" is empty";
    if (!lt_address_parse(address, &a))
        return "no address of this machine";
    int fd = dial(&a, deadline);
    if (fd < 0)
        return strerror(errno);
    const char *why = fetch(fd, request, buf, deadline) ? NULL : strerror(errno);
    close(fd);
    return why || read_answer(lt_buf_span(buf), answer) ? why : "the answer is not lethe's";
}

void lt_admin_no_answer(const char *command, struct lt_span address, const char *why) {
    fprintf(stderr, "lethe: %s: %.*s%s%s; write \"--admin host:port\" of a running lethe that has the option \"admin\"\n",
            command, (int)address.n, address.n ? address.p : "", address.n ? ": " : "", why);
}
