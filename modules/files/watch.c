// SPDX-License-Identifier: Apache-2.0
#include "modules/files/watch.h"

#include <stdio.h>
#include <sys/inotify.h>
#include <unistd.h>

enum { EVENTS = IN_CLOSE_WRITE | IN_MOVED_TO | IN_DELETE, READ_SIZE = 16384 };

static struct lt_list *bucket(struct watch *w, const char *name) {
    unsigned h = 5381;
    for (; *name; name++)
        h = h * 33 + (unsigned char)*name;
    return &w->buckets[h % WATCH_BUCKETS];
}

// An entry may remove any other while it is told: from the front again after each that was.
static void tell(struct watch *w, const char *name) {
    struct lt_list told, *b = bucket(w, name);
    lt_list_init(&told);
    for (struct lt_list *n = b->next, *next; n != b; n = next) {
        next = n->next;
        if (strcmp(LT_ENTRY(n, struct watch_entry, node)->name, name) == 0) {
            lt_list_remove(n);
            lt_list_append(&told, n);
        }
    }
    while (!lt_list_empty(&told)) {
        struct watch_entry *e = LT_ENTRY(told.next, struct watch_entry, node);
        lt_list_remove(&e->node);
        lt_list_append(b, &e->node);
        e->changed(e);
    }
}

static void on_events(evutil_socket_t fd, short what, void *arg) {
    (void)what;
    struct watch *w = arg;
    _Alignas(struct inotify_event) char data[READ_SIZE];
    ssize_t n = read((int)fd, data, sizeof data);
    for (ssize_t at = 0; at < n;) {
        const struct inotify_event *e = (const struct inotify_event *)(data + at);
        if (e->len)
            tell(w, e->name);
        at += (ssize_t)(sizeof *e + e->len);
    }
}

static void watch_path(struct watch *w, int fd, const char *below) {
    char path[FILES_NAME_MAX + 32];
    snprintf(path, sizeof path, "/proc/self/fd/%d/%s", fd, below);
    if (inotify_add_watch(w->fd, path, EVENTS | IN_ONLYDIR) < 0)
        return; // not readable, or too many: who waits looks by himself
}

void watch_init(struct watch *w, struct lt_loop *loop, int fd) {
    for (unsigned i = 0; i < WATCH_BUCKETS; i++)
        lt_list_init(&w->buckets[i]);
    w->fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
    if (w->fd < 0)
        return;
    watch_path(w, fd, "");
    event_assign(&w->event, loop->base, w->fd, EV_READ | EV_PERSIST, on_events, w);
    event_add(&w->event, NULL);
}

void watch_fini(struct watch *w) {
    if (w->fd < 0)
        return;
    event_del(&w->event);
    close(w->fd);
    w->fd = -1;
}

void watch_parent(struct watch *w, int fd, const char *name) {
    char folder[FILES_NAME_MAX];
    const char *slash = strrchr(name, '/');
    if (!slash || w->fd < 0)
        return;
    snprintf(folder, sizeof folder, "%.*s", (int)(slash - name), name);
    watch_path(w, fd, folder); // the same directory again is the same watch
}

static const char *last_part(const char *name) {
    const char *slash = strrchr(name, '/');
    return slash ? slash + 1 : name;
}

struct watch_entry *watch_find(struct watch *w, const char *name, void (*changed)(struct watch_entry *e)) {
    struct lt_list *b = bucket(w, last_part(name));
    for (struct lt_list *n = b->next; n != b; n = n->next) {
        struct watch_entry *e = LT_ENTRY(n, struct watch_entry, node);
        if (e->changed == changed && strcmp(e->name, last_part(name)) == 0)
            return e;
    }
    return NULL;
}

void watch_add(struct watch *w, struct watch_entry *e, const char *name, void (*changed)(struct watch_entry *e)) {
    snprintf(e->name, sizeof e->name, "%s", last_part(name));
    e->changed = changed;
    lt_list_init(&e->node);
    lt_list_append(bucket(w, e->name), &e->node);
}

void watch_remove(struct watch_entry *e) {
    if (e->node.next)
        lt_list_remove(&e->node);
}
