// SPDX-License-Identifier: Apache-2.0
#include "probe.h"

#include "base/clock.h"
#include "net/address.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <unistd.h>

// One deadline for all of it: a process that trickles its answer is not healthy either.
enum { LIMIT_MS = 2000, ANSWER_MAX = 8192 };

static int fail(struct lt_span address, const char *name, const char *why) {
    fprintf(stderr, "lethe: probe: %s: %.*s: %s\n", name, (int)address.n, address.p, why);
    return 1;
}

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

// The whole answer, as far as it fits; its length, or -1: errno says why.
static ssize_t fetch(int fd, const char *name, char answer[ANSWER_MAX], int64_t deadline) {
    char ask[64];
    size_t n = 0;
    int size = snprintf(ask, sizeof ask, "GET /%s HTTP/1.0\r\nHost: lethe\r\n\r\n", name);
    if (send(fd, ask, (size_t)size, MSG_NOSIGNAL) != size)
        return -1;
    while (n < ANSWER_MAX) {
        if (!await(fd, POLLIN, deadline))
            return -1;
        ssize_t got = recv(fd, answer + n, ANSWER_MAX - n, 0);
        if (got < 0 && errno == EAGAIN)
            continue;
        if (got <= 0)
            return got < 0 ? -1 : (ssize_t)n;
        n += (size_t)got;
    }
    return (ssize_t)n;
}

// "readyz: ok", or the checks that failed, one behind the other: a container's health log shows lines.
static int print(struct lt_span address, const char *name, struct lt_span answer) {
    static const char version[] = "HTTP/1.1 ";
    const char *body = memmem(answer.p, answer.n, "\r\n\r\n", 4);
    if (!body || !lt_span_starts(answer, LT_S(version)) || answer.n < sizeof version + 2)
        return fail(address, name, "the answer is not lethe's");
    const char *status = answer.p + sizeof version - 1, *end = answer.p + answer.n;
    bool ok = memcmp(status, "200", 3) == 0;
    printf("%s: ", name);
    if (!ok)
        printf("%.3s: ", status);
    while (end > body && end[-1] == '\n')
        end--;
    for (const char *p = body + 4; p < end; p++)
        fputs(*p == '\n' ? "; " : (char[]){*p, 0}, stdout);
    puts("");
    return ok ? 0 : 1;
}

int lt_probe_ask(struct lt_span address, const char *name) {
    int64_t deadline = lt_clock_mono() + LIMIT_MS;
    char answer[ANSWER_MAX];
    struct lt_address a;
    if (!lt_address_parse(address, &a))
        return fail(address, name,
                    address.n ? "no address of this machine; write \"--admin host:port\" as the running lethe has it"
                              : "the option \"admin\" is empty; write \"--admin host:port\", for lethe run as well");
    int fd = dial(&a, deadline);
    if (fd < 0)
        return fail(address, name, strerror(errno));
    ssize_t n = fetch(fd, name, answer, deadline);
    int code = n < 0 ? fail(address, name, strerror(errno)) : print(address, name, lt_span(answer, (size_t)n));
    close(fd);
    return code;
}
