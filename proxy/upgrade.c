// SPDX-License-Identifier: Apache-2.0
#include "upgrade.h"

#include "inherit.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { FIRST_FD = 3, PID_DIGITS = 10, NOT_STARTED = 127 };

static struct {
    char path[PATH_MAX];
    char **argv;
    struct {
        int fd;
        char *name;
    } * sockets;
    unsigned n;
    int ready; // the new process says that it accepts
    pid_t pid;
} upgrade = {.ready = -1};

void lt_upgrade_init(char **argv) {
    ssize_t n = readlink("/proc/self/exe", upgrade.path, sizeof upgrade.path - 1);
    upgrade.path[n > 0 ? n : 0] = '\0';
    upgrade.argv = argv;
}

bool lt_upgrade_offer(int fd, const char *name) {
    void *grown = realloc(upgrade.sockets, (upgrade.n + 1) * sizeof *upgrade.sockets);
    if (!grown)
        return false;
    upgrade.sockets = grown;
    upgrade.sockets[upgrade.n].fd = fd;
    upgrade.sockets[upgrade.n].name = strdup(name);
    return upgrade.sockets[upgrade.n++].name != NULL;
}

// --- what the new process gets: made before the fork, since behind it only system calls are safe ---

struct package {
    char **env;
    char *text; // the variables of our own
    char *pid;  // where its number goes
    int *fds;   // in the order of the names, the pipe last
    unsigned n;
};

static void free_package(struct package *p) {
    free(p->env);
    free(p->text);
    free(p->fds);
}

static bool starts(const char *variable, const char *name) {
    return strncmp(variable, name, strlen(name)) == 0;
}

static bool write_variables(struct package *p) {
    size_t size = 256;
    for (unsigned i = 0; i < upgrade.n; i++)
        size += strlen(upgrade.sockets[i].name) + 1;
    p->text = malloc(size);
    if (!p->text)
        return false;
    int at = snprintf(p->text, size, "LISTEN_PID=%*s", PID_DIGITS, "");
    p->pid = p->text + at - PID_DIGITS;
    char *fds = p->text + ++at;
    at += snprintf(fds, size - (size_t)at, "LISTEN_FDS=%u", p->n) + 1;
    char *names = p->text + at;
    at += snprintf(names, size - (size_t)at, "LISTEN_FDNAMES=");
    for (unsigned i = 0; i < upgrade.n; i++)
        at += snprintf(p->text + at, size - (size_t)at, "%s:", upgrade.sockets[i].name);
    snprintf(p->text + at, size - (size_t)at, LT_INHERIT_OWN "ready");
    p->env[0] = p->text;
    p->env[1] = fds;
    p->env[2] = names;
    return true;
}

// WATCHDOG_PID names this process: without it the new one knows itself meant.
static bool pack(struct package *p, int ready) {
    extern char **environ;
    unsigned n = 0, kept = 3;
    while (environ[n])
        n++;
    *p = (struct package){.env = calloc(n + 4, sizeof *p->env), .n = upgrade.n + 1};
    p->fds = calloc(p->n, sizeof *p->fds);
    if (!p->env || !p->fds || !write_variables(p)) {
        free_package(p);
        return false;
    }
    for (unsigned i = 0; i < n; i++)
        if (!starts(environ[i], "LISTEN_") && !starts(environ[i], "WATCHDOG_PID="))
            p->env[kept++] = environ[i];
    for (unsigned i = 0; i < upgrade.n; i++)
        p->fds[i] = upgrade.sockets[i].fd;
    p->fds[upgrade.n] = ready;
    return true;
}

// In the child. Everything else that is open closes by itself at exec. The signals that the parent reads stay blocked until the new
// process reads them.
static void become(struct package *p) {
    int above = FIRST_FD + (int)p->n;
    for (unsigned i = 0; i < p->n; i++) // first out of the way of each other
        p->fds[i] = fcntl(p->fds[i], F_DUPFD_CLOEXEC, above);
    for (unsigned i = 0; i < p->n; i++)
        if (p->fds[i] < 0 || dup2(p->fds[i], FIRST_FD + (int)i) < 0)
            _exit(NOT_STARTED);
    char *digit = p->pid + PID_DIGITS;
    for (long pid = getpid(); pid && digit > p->pid; pid /= 10)
        *--digit = (char)('0' + pid % 10);
    execve(upgrade.path, upgrade.argv, p->env);
    _exit(NOT_STARTED);
}

int lt_upgrade_begin(char *why, size_t size) {
    int ends[2];
    struct package p;
    if (getpid() == 1) {
        snprintf(why, size,
                 "this is a container's first process, with which the container ends; start another container");
        return -1;
    }
    if (upgrade.ready >= 0) {
        snprintf(why, size, "the new process is starting already");
        return -1;
    }
    if (access(upgrade.path, X_OK) != 0) {
        snprintf(why, size, "%s: %s; put the new program there", upgrade.path, strerror(errno));
        return -1;
    }
    if (pipe2(ends, O_CLOEXEC | O_NONBLOCK) != 0 || !pack(&p, ends[1])) {
        snprintf(why, size, "%s", strerror(errno));
        return -1;
    }
    upgrade.pid = fork();
    if (upgrade.pid == 0)
        become(&p);
    int error = errno;
    free_package(&p);
    close(ends[1]);
    if (upgrade.pid < 0) {
        close(ends[0]);
        snprintf(why, size, "%s", strerror(error));
        return -1;
    }
    return upgrade.ready = ends[0];
}

enum lt_upgrade_result lt_upgrade_result(bool late, pid_t *pid, char *why, size_t size) {
    char word;
    int status = 0;
    ssize_t n = read(upgrade.ready, &word, 1);
    if (n < 0 && (errno == EAGAIN || errno == EINTR) && !late)
        return LT_UPGRADE_WAITS;
    close(upgrade.ready);
    upgrade.ready = -1;
    *pid = upgrade.pid;
    if (n == 1)
        return LT_UPGRADE_READY;
    kill(upgrade.pid, SIGKILL); // it has ended already, but where it is late
    while (waitpid(upgrade.pid, &status, 0) < 0 && errno == EINTR) {
    }
    if (late)
        snprintf(why, size, "the new process did not accept in time; what it says stands in the log");
    else if (WIFEXITED(status) && WEXITSTATUS(status) == NOT_STARTED)
        snprintf(why, size, "%s cannot be run", upgrade.path);
    else if (WIFEXITED(status))
        snprintf(why, size, "the new process ended with %d; what it says stands in the log", WEXITSTATUS(status));
    else
        snprintf(why, size, "the new process was ended by signal %d", WTERMSIG(status));
    return LT_UPGRADE_FAILED;
}

void lt_upgrade_fini(void) {
    for (unsigned i = 0; i < upgrade.n; i++)
        free(upgrade.sockets[i].name);
    free(upgrade.sockets);
}
