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

enum { WORDS = 12 };

// Cuts the line at its blanks; returns how many words there are.
static unsigned split(char *line, char *words[WORDS]) {
    unsigned n = 0;
    char *rest = NULL;
    for (char *word = strtok_r(line, " \n", &rest); word && n < WORDS; word = strtok_r(NULL, " \n", &rest))
        words[n++] = word;
    return n;
}

// "  0: 0100007F:0BB8 00000000:0000 0A 00000000:00000000 00:00000000 00000000 0 0 12345 …": state 0A listens.
static void read_tcp(struct sockets *s, const char *file, unsigned long port) {
    char line[512], *words[WORDS];
    FILE *f = fopen(file, "re");
    while (f && fgets(line, sizeof line, f)) {
        if (split(line, words) < 10 || strcmp(words[3], "0A") != 0)
            continue;
        const char *colon = strrchr(words[1], ':');
        if (colon && strtoul(colon + 1, NULL, 16) == port)
            keep(s, strtoul(words[9], NULL, 10));
    }
    if (f)
        fclose(f);
}

// "0000…: 00000002 00000000 00010000 0001 01 12345 /path": flag 10000 listens.
static void read_unix(struct sockets *s, struct lt_span path) {
    char line[512], *words[WORDS];
    FILE *f = fopen("/proc/net/unix", "re");
    while (f && fgets(line, sizeof line, f))
        if (split(line, words) == 8 && strtoul(words[3], NULL, 16) & 0x10000 && lt_span_eq(lt_span_cstr(words[7]), path))
            keep(s, strtoul(words[6], NULL, 10));
    if (f)
        fclose(f);
}

static bool is_one_of(const struct sockets *s, const char *link) {
    static const char prefix[] = "socket:[";
    bool found = false;
    if (strncmp(link, prefix, sizeof prefix - 1) != 0)
        return false;
    unsigned long inode = strtoul(link + sizeof prefix - 1, NULL, 10);
    for (unsigned i = 0; i < s->n; i++)
        found = found || s->inode[i] == inode;
    return found;
}

static bool holds(const struct sockets *s, long pid) {
    char path[64], link[64];
    bool found = false;
    snprintf(path, sizeof path, "/proc/%ld/fd", pid);
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
    long pid = 0;
    DIR *d = s->n ? opendir("/proc") : NULL;
    struct dirent *e;
    while (d && !pid && (e = readdir(d))) {
        long number = isdigit((unsigned char)e->d_name[0]) ? strtol(e->d_name, NULL, 10) : 0;
        pid = number && holds(s, number) ? number : 0;
    }
    if (d)
        closedir(d);
    return (int)pid;
}

int audit_find_app(struct lt_span upstream) {
    struct sockets s = {.n = 0};
    struct lt_span host, port;
    unsigned long long number;
    if (lt_span_starts(upstream, LT_S("unix:"))) {
        read_unix(&s, lt_span(upstream.p + 5, upstream.n - 5));
    } else if (lt_host_port(upstream, &host, &port) && lt_span_to_u64(port, 65535, &number)) {
        read_tcp(&s, "/proc/net/tcp", (unsigned long)number);
        read_tcp(&s, "/proc/net/tcp6", (unsigned long)number);
    }
    return owner(&s);
}
