// SPDX-License-Identifier: Apache-2.0
#include "notify.h"

#include "base/clock.h"
#include "base/log.h"

#include <errno.h>
#include <inttypes.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

// A drain may end a moment behind its limit; the manager's patience is a little longer.
enum { PATIENCE_MS = 5000 };

// "/path", or "@name" in the abstract namespace. false: no manager asks, or the name is none.
static bool manager(struct sockaddr_un *to, socklen_t *length) {
    const char *name = getenv("NOTIFY_SOCKET");
    size_t n = name ? strlen(name) : 0;
    if (n < 2 || n >= sizeof to->sun_path || (name[0] != '/' && name[0] != '@'))
        return false;
    *to = (struct sockaddr_un){.sun_family = AF_UNIX};
    memcpy(to->sun_path, name, n);
    if (name[0] == '@')
        to->sun_path[0] = '\0';
    *length = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + n + (name[0] == '/'));
    return true;
}

// The manager may be slow to read: better a second late than a service that is taken for one that never started.
static bool send_to(const struct sockaddr_un *to, socklen_t length, const char *text) {
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    struct timeval limit = {.tv_sec = 1};
    if (fd < 0)
        return false;
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
    ssize_t sent = sendto(fd, text, strlen(text), MSG_NOSIGNAL, (const struct sockaddr *)to, length);
    int error = errno;
    close(fd);
    errno = error;
    return sent >= 0;
}

static void tell(const char *text) {
    static bool complained;
    struct sockaddr_un to;
    socklen_t length;
    if (!manager(&to, &length) || send_to(&to, length, text) || complained)
        return;
    complained = true;
    LT_LOG(LT_LOG_WARN, "notify_failed", lt_fs("socket", getenv("NOTIFY_SOCKET")), lt_fs("why", strerror(errno)));
}

void lt_notify_ready(void) {
    tell("READY=1\nSTATUS=serving");
}

void lt_notify_reloading(void) {
    char text[96];
    snprintf(text, sizeof text, "RELOADING=1\nMONOTONIC_USEC=%" PRId64 "\nSTATUS=reloading", lt_clock_mono() * 1000);
    tell(text);
}

void lt_notify_successor(int64_t pid) {
    char text[64];
    snprintf(text, sizeof text, "MAINPID=%" PRId64, pid);
    tell(text);
}

void lt_notify_stopping(int64_t limit_ms) {
    char text[128];
    snprintf(text, sizeof text, "STOPPING=1\nEXTEND_TIMEOUT_USEC=%" PRId64 "\nSTATUS=draining, at most %" PRId64 " ms",
             (limit_ms + PATIENCE_MS) * 1000, limit_ms);
    tell(text);
}

int64_t lt_notify_watchdog_ms(void) {
    const char *limit = getenv("WATCHDOG_USEC"), *whom = getenv("WATCHDOG_PID");
    struct sockaddr_un to;
    socklen_t length;
    if (!limit || !manager(&to, &length) || (whom && strtoll(whom, NULL, 10) != getpid()))
        return 0;
    int64_t half = strtoll(limit, NULL, 10) / 2000;
    return half > 0 ? half : 0;
}

void lt_notify_alive(void) {
    tell("WATCHDOG=1");
}
