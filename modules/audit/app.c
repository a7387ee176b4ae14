// SPDX-License-Identifier: Apache-2.0
#include "modules/audit/app.h"

#include "net/address.h"

#include <ctype.h>
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { INODES = 16 };

struct sockets {
    unsigned long inode[INODES]; // of listening sockets at the address; several with SO_REUSEPORT
    unsigned n;
};

static void keep(struct sockets *s, unsigned long inode) {
    if (inode && s->n < INODES)
        s->inode[s->n++] = inode;
}

// "  0: 0100007F:0BB8 00000000:0000 0A …": state 0A listens.
static void read_tcp(struct sockets *s, const char *file, unsigned port) {
    char line[512];
    FILE *f = fopen(file, "re");
    while (f && fgets(line, sizeof line, f)) {
        unsigned its_port, state;
        unsigned long inode;
        if (sscanf(line, " %*u: %*[0-9A-F]:%x %*[0-9A-F]:%*x %x %*s %*s %*s %*u %*u %lu", &its_port, &state, &inode) == 3 &&
            its_port == port && state == 0x0A)
            keep(s, inode);
    }
    if (f)
        fclose(f);
}

// "0000…: 00000002 00000000 00010000 0001 01 12345 /path"
static void read_unix(struct sockets *s, struct lt_span path) {
    char line[512];
    FILE *f = fopen("/proc/net/unix", "re");
    while (f && fgets(line, sizeof line, f)) {
        unsigned flags, state;
        unsigned long inode;
        int at = 0;
        line[strcspn(line, "\n")] = '\0';
        if (sscanf(line, "%*x: %*x %*x %x %*x %x %lu %n", &flags, &state, &inode, &at) == 3 && at && flags & 0x10000 &&
            lt_span_eq(lt_span_cstr(line + at), path))
            keep(s, inode);
    }
    if (f)
        fclose(f);
}

static bool is_one_of(const struct sockets *s, const char *link) {
    unsigned long inode;
    bool found = false;
    if (sscanf(link, "socket:[%lu]", &inode) == 1)
        for (unsigned i = 0; i < s->n; i++)
            found = found || s->inode[i] == inode;
    return found;
}

static bool holds(const struct sockets *s, int pid) {
    char path[64], link[64];
    bool found = false;
    snprintf(path, sizeof path, "/proc/%d/fd", pid);
    DIR *d = opendir(path);
    struct dirent *e;
    while (d && !found && (e = readdir(d))) {
        ssize_t n = readlinkat(dirfd(d), e->d_name, link, sizeof link - 1);
        if (n > 0) {
            link[n] = '\0';
            found = is_one_of(s, link);
        }
    }
    if (d)
        closedir(d);
    return found;
}

// The first one: a server that forks has its children behind it.
static int owner(const struct sockets *s) {
    int pid = 0;
    DIR *d = s->n ? opendir("/proc") : NULL;
    struct dirent *e;
    while (d && !pid && (e = readdir(d)))
        if (isdigit((unsigned char)e->d_name[0]) && holds(s, atoi(e->d_name)))
            pid = atoi(e->d_name);
    if (d)
        closedir(d);
    return pid;
}

int audit_find_app(struct lt_span upstream) {
    struct sockets s = {.n = 0};
    struct lt_span host, port;
    unsigned long long number;
    if (lt_span_starts(upstream, LT_S("unix:"))) {
        read_unix(&s, lt_span(upstream.p + 5, upstream.n - 5));
    } else if (lt_host_port(upstream, &host, &port) && lt_span_to_u64(port, 65535, &number)) {
        read_tcp(&s, "/proc/net/tcp", (unsigned)number);
        read_tcp(&s, "/proc/net/tcp6", (unsigned)number);
    }
    return owner(&s);
}
