// SPDX-License-Identifier: Apache-2.0
#include "modules/audit/measure.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { STEP = 1024, PAUSE_MS = 20, TICK_MS = 10, FILES_MAX = 4 << 20 };

static void leave(struct measure *m) {
    m->depth--;
    closedir(m->stack[m->depth].dir);
    unsigned name = m->stack[m->depth].name;
    m->path[name ? name - 1 : 0] = '\0';
}

static void enter(struct measure *m, const char *name) {
    size_t n = strlen(m->path), begin = n ? n + 1 : 0;
    if (m->depth == MEASURE_DEPTH || begin + strlen(name) >= sizeof m->path) {
        m->cut = true;
        return;
    }
    int from = m->depth ? dirfd(m->stack[m->depth - 1].dir) : m->root;
    int fd = openat(from, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    DIR *dir = fd >= 0 ? fdopendir(fd) : NULL;
    if (!dir) { // gone again, or not ours to read
        if (fd >= 0)
            close(fd);
        return;
    }
    m->stack[m->depth].dir = dir;
    m->stack[m->depth++].name = (unsigned)begin;
    if (m->depth > 1)
        snprintf(m->path + n, sizeof m->path - n, "%s%s", n ? "/" : "", name);
}

// The clock of files ticks: it may be behind.
static bool is_new(const struct measure *m, const struct stat *st) {
    return (int64_t)st->st_mtim.tv_sec * 1000 + st->st_mtim.tv_nsec / 1000000 + TICK_MS >= m->since;
}

static void take(struct measure *m, const char *name) {
    struct stat st;
    if (fstatat(dirfd(m->stack[m->depth - 1].dir), name, &st, AT_SYMLINK_NOFOLLOW) != 0)
        return;
    if (S_ISDIR(st.st_mode) && st.st_dev != m->dev) // only directories tell: an overlay's files may name their layer
        return;
    uint64_t bytes = (uint64_t)st.st_blocks * 512;
    m->bytes += bytes;
    m->files++;
    if (S_ISDIR(st.st_mode)) {
        enter(m, name);
    } else if (S_ISREG(st.st_mode) && bytes > m->new_bytes && is_new(m, &st)) {
        m->new_bytes = bytes;
        snprintf(m->new_path, sizeof m->new_path, "%.*s%s%.128s", 120, m->path, *m->path ? "/" : "", name);
    }
}

static void end(struct measure *m) {
    while (m->depth)
        leave(m);
    m->root = -1;
    lt_timer_clear(m->loop, &m->step);
}

static void on_step(struct lt_timer *t) {
    struct measure *m = LT_ENTRY(t, struct measure, step);
    for (unsigned i = 0; m->depth && m->files < FILES_MAX; i++) {
        if (i == STEP) { // the thread has others to serve
            lt_timer_set(m->loop, t, PAUSE_MS);
            return;
        }
        struct dirent *e = readdir(m->stack[m->depth - 1].dir);
        if (!e)
            leave(m);
        else if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0)
            take(m, e->d_name);
    }
    m->cut = m->cut || m->depth > 0;
    end(m);
    m->done(m);
}

void measure_init(struct measure *m, struct lt_loop *loop, void (*done)(struct measure *m)) {
    *m = (struct measure){.loop = loop, .done = done, .root = -1};
    lt_timer_init(&m->step, on_step);
}

void measure_fini(struct measure *m) {
    end(m);
}

void measure_begin(struct measure *m, int root, int64_t since) {
    struct stat st;
    m->bytes = m->files = m->new_bytes = 0;
    m->new_path[0] = '\0';
    m->cut = false;
    m->since = since;
    m->root = root;
    m->path[0] = '\0';
    m->dev = fstat(root, &st) == 0 ? st.st_dev : 0;
    enter(m, ".");
    lt_timer_set(m->loop, &m->step, 0);
}
