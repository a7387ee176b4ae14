// SPDX-License-Identifier: Apache-2.0
#include "place.h"

#include "drain.h"
#include "inherit.h"
#include "listener.h"
#include "upgrade.h"

#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

static struct lt_span unix_paths[16]; // to be removed at the end
static unsigned n_unix_paths;

static bool say_where(const struct lt_place *p, int fd) {
    struct lt_address bound;
    char at[LT_ADDRESS_TEXT];
    memset(&bound, 0, sizeof bound);
    bound.size = sizeof bound.u;
    if (getsockname(fd, &bound.u.sa, &bound.size) != 0)
        return false;
    LT_LOG(LT_LOG_INFO, p->event, lt_fs("address", lt_address_format(&bound, at)), lt_fs("tls", p->tls ? "yes" : "no"));
    return true;
}

static void will_remove(struct lt_span address) {
    if (lt_span_starts(address, LT_S("unix:")) && n_unix_paths < 16)
        unix_paths[n_unix_paths++] = lt_span(address.p + 5, address.n - 5);
}

// All inherited sockets are accepted from, however many workers there are now: connections stand in the queue of each. A worker that
// gets none of its own shares one. *n: how many there were.
static bool take_inherited(const struct lt_place *p, unsigned *n) {
    struct lt_address want;
    const struct lt_inherited *s;
    int fds[256];
    for (*n = 0; lt_address_parse(p->address, &want) && (s = lt_inherit_next(&want, p->option)); ++*n) {
        if (*n == 0 && s->own)
            will_remove(p->address);
        if (*n < 256)
            fds[*n] = s->fd;
        if ((*n == 0 && !say_where(p, s->fd)) || !lt_upgrade_offer(s->fd, s->name) ||
            !lt_listener_add(&p->workers[*n % p->n], s->fd, p->proxy_header, p->tls))
            return false;
    }
    for (unsigned i = *n; *n && i < p->n; i++) {
        int fd = fcntl(fds[i % *n], F_DUPFD_CLOEXEC, 0);
        if (fd < 0 || !lt_listener_add(&p->workers[i], fd, p->proxy_header, p->tls))
            return false;
    }
    return true;
}

bool lt_place_open(const struct lt_place *p) {
    int fds[256];
    char error[256], name[64];
    struct lt_address bound;
    unsigned inherited;
    if (!take_inherited(p, &inherited))
        return false;
    if (inherited)
        return true;
    if (!lt_listen(p->address, p->mode, p->n, fds, &bound, error, sizeof error)) {
        fprintf(stderr, "lethe: %s\n", error);
        return false;
    }
    bool local = bound.u.sa.sa_family == AF_UNIX;
    snprintf(name, sizeof name, LT_INHERIT_OWN "%s", p->option);
    for (unsigned i = 0; i < p->n; i++) // all of a unix listener are one socket
        if (!lt_listener_add(&p->workers[i], fds[i], p->proxy_header, p->tls) ||
            ((!local || i == 0) && !lt_upgrade_offer(fds[i], name)))
            return false;
    will_remove(p->address);
    return say_where(p, fds[0]);
}

void lt_places_remove(void) {
    for (unsigned i = 0; i < n_unix_paths && !lt_drain_is_handed_over(); i++) {
        char path[128];
        snprintf(path, sizeof path, "%.*s", (int)unix_paths[i].n, unix_paths[i].p);
        unlink(path);
    }
}

static bool same_list(const struct lt_option_list *a, const struct lt_option_list *b) {
    bool same = a->n == b->n;
    for (unsigned i = 0; same && i < a->n; i++)
        same = lt_span_eq(a->v[i], b->v[i]);
    return same;
}

bool lt_places_moved(const struct lt_snapshot *old, const struct lt_snapshot *s) {
    bool same = same_list(&old->core.top->listen, &s->core.top->listen) &&
                same_list(&old->core.tls.conf->listen, &s->core.tls.conf->listen) &&
                lt_span_eq(old->core.top->admin, s->core.top->admin);
    for (unsigned i = 0; same && i < s->n_modules; i++) {
        const struct lt_module *m = s->modules[i];
        unsigned mode;
        same = !m->listen || lt_span_eq(m->listen(lt_config_group(&old->config, m->options.prefix), &mode),
                                        m->listen(lt_config_group(&s->config, m->options.prefix), &mode));
    }
    return !same;
}
