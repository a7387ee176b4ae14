// SPDX-License-Identifier: Apache-2.0
#include "modules/audit/mount.h"

#include "base/clock.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/fanotify.h>
#include <sys/stat.h>
#include <unistd.h>

enum { READ_SIZE = 8192, OPEN = sizeof((struct mount *)0)->open / sizeof *((struct mount *)0)->open };

// Was it told of already? The close ends that.
static bool is_told(struct mount *m, const struct stat *st, bool closed) {
    for (unsigned i = 0; i < OPEN; i++)
        if (m->open[i].ino == st->st_ino && m->open[i].dev == st->st_dev) {
            if (closed)
                m->open[i].ino = m->open[i].dev = 0;
            return true;
        }
    if (!closed) {
        unsigned at = m->next_open++ % OPEN;
        m->open[at].dev = st->st_dev;
        m->open[at].ino = st->st_ino;
    }
    return false;
}

static void on_event(struct mount *m, const struct fanotify_event_metadata *e) {
    struct stat st;
    if (e->mask & FAN_Q_OVERFLOW)
        m->overflows++;
    if (e->fd < 0)
        return;
    if (e->pid != getpid() && fstat(e->fd, &st) == 0 && S_ISREG(st.st_mode) &&
        !is_told(m, &st, e->mask & FAN_CLOSE_WRITE))
        m->written(m->user, e->fd);
    close(e->fd);
}

static void on_events(evutil_socket_t fd, short what, void *arg) {
    (void)what;
    struct mount *m = arg;
    _Alignas(struct fanotify_event_metadata) char data[READ_SIZE];
    int64_t now = lt_clock_wall();
    ssize_t n = read((int)fd, data, sizeof data);
    bool whole = n >= 0 && n < READ_SIZE / 2; // the kernel had no more
    const struct fanotify_event_metadata *e = (const struct fanotify_event_metadata *)(const void *)data;
    for (; FAN_EVENT_OK(e, n); e = FAN_EVENT_NEXT(e, n))
        on_event(m, e);
    if (whole)
        m->drained = now;
}

bool mount_init(struct mount *m, struct lt_loop *loop, int dir, void (*written)(void *user, int fd), void *user) {
    *m = (struct mount){.written = written, .user = user, .drained = lt_clock_wall()};
    // Nonblocking: the kernel opens the file for us, and that may be a fifo.
    m->fd = fanotify_init(FAN_CLASS_NOTIF | FAN_CLOEXEC | FAN_NONBLOCK,
                          O_RDONLY | O_LARGEFILE | O_CLOEXEC | O_NOATIME | O_NONBLOCK);
    if (m->fd < 0)
        return false;
    if (fanotify_mark(m->fd, FAN_MARK_ADD | FAN_MARK_MOUNT, FAN_MODIFY | FAN_CLOSE_WRITE, dir, NULL) != 0) {
        int why = errno;
        close(m->fd);
        m->fd = -1;
        errno = why;
        return false;
    }
    event_assign(&m->event, loop->base, m->fd, EV_READ | EV_PERSIST, on_events, m);
    event_add(&m->event, NULL);
    return true;
}

void mount_fini(struct mount *m) {
    if (m->fd < 0)
        return;
    event_del(&m->event);
    close(m->fd);
    m->fd = -1;
}
