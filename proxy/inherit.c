// SPDX-License-Identifier: Apache-2.0
#include "inherit.h"

#include "base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { FIRST_FD = 3, FDS_MAX = 8192 };

static struct {
    struct lt_inherited *v;
    unsigned n;
    char *names;
    int ready; // to the lethe that started this one; -1: none did
} inherit = {.ready = -1};

static unsigned count_fds(void) {
    const char *whom = getenv("LISTEN_PID"), *fds = getenv("LISTEN_FDS");
    if (!whom || !fds || strtol(whom, NULL, 10) != (long)getpid())
        return 0;
    long n = strtol(fds, NULL, 10);
    return n > 0 && n <= FDS_MAX ? (unsigned)n : 0;
}

static void add(int fd, const char *name) {
    fcntl(fd, F_SETFD, FD_CLOEXEC);
    if (strcmp(name, LT_INHERIT_OWN "ready") == 0) {
        inherit.ready = fd;
        return;
    }
    int flags = fcntl(fd, F_GETFL);
    if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0)
        return; // not open
    bool own = strncmp(name, LT_INHERIT_OWN, sizeof LT_INHERIT_OWN - 1) == 0;
    inherit.v[inherit.n++] = (struct lt_inherited){.fd = fd, .name = name, .own = own};
}

bool lt_inherit_init(void) {
    unsigned n = count_fds();
    const char *names = getenv("LISTEN_FDNAMES");
    inherit.names = strdup(names ? names : "");
    inherit.v = calloc(n + 1, sizeof *inherit.v);
    unsetenv("LISTEN_PID");
    unsetenv("LISTEN_FDS");
    unsetenv("LISTEN_FDNAMES");
    if (!inherit.names || !inherit.v)
        return false;
    char *rest = inherit.names;
    for (unsigned i = 0; i < n; i++) {
        char *name = strsep(&rest, ":");
        add(FIRST_FD + (int)i, name ? name : "");
    }
    return true;
}

static bool is_at(const struct lt_inherited *s, struct lt_address want) {
    struct lt_address has;
    memset(&has, 0, sizeof has);
    has.size = sizeof has.u;
    if (getsockname(s->fd, &has.u.sa, &has.size) != 0 || has.u.sa.sa_family != want.u.sa.sa_family)
        return false;
    switch (want.u.sa.sa_family) {
    case AF_INET:
        return has.u.v4.sin_addr.s_addr == want.u.v4.sin_addr.s_addr &&
               (want.u.v4.sin_port == 0 || want.u.v4.sin_port == has.u.v4.sin_port);
    case AF_INET6:
        return memcmp(&has.u.v6.sin6_addr, &want.u.v6.sin6_addr, sizeof has.u.v6.sin6_addr) == 0 &&
               (want.u.v6.sin6_port == 0 || want.u.v6.sin6_port == has.u.v6.sin6_port);
    default:
        return strncmp(has.u.local.sun_path, want.u.local.sun_path, sizeof has.u.local.sun_path) == 0;
    }
}

const struct lt_inherited *lt_inherit_next(const struct lt_address *at, const char *name) {
    for (unsigned i = 0; i < inherit.n; i++) {
        struct lt_inherited *s = &inherit.v[i];
        // Another option's socket of the same machine would do with port 0, and would be wrong.
        bool named = strcmp(s->own ? s->name + sizeof LT_INHERIT_OWN - 1 : s->name, name) == 0;
        if (s->claimed || (s->own ? !named || !is_at(s, *at) : !named && !is_at(s, *at)))
            continue;
        s->claimed = true;
        return s;
    }
    return NULL;
}

void lt_inherit_done(void) {
    for (unsigned i = 0; i < inherit.n; i++) {
        if (inherit.v[i].claimed)
            continue;
        LT_LOG(LT_LOG_WARN, "socket_not_used", lt_fs("name", inherit.v[i].name),
               lt_fs("do", "give it the address of an option, or the option's name (FileDescriptorName=listen)"));
        close(inherit.v[i].fd);
    }
    if (inherit.ready >= 0) {
        if (write(inherit.ready, "1", 1) != 1)
            LT_LOG(LT_LOG_WARN, "upgrade_unheard", lt_fs("why", strerror(errno)));
        close(inherit.ready);
        inherit.ready = -1;
    }
}

void lt_inherit_fini(void) {
    free(inherit.v);
    free(inherit.names);
}
