// SPDX-License-Identifier: Apache-2.0
#include "modules/state_api/state.h"

#include "base/lost.h"

#include <pthread.h>
#include <stdio.h>

enum { ID_MIN = 8 };

// Added and removed once a request, looked through by the calls of the API.
static struct lt_list all = {&all, &all};
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

void in_flight_add(struct in_flight *f, const struct lt_record *record, struct lt_span path) {
    size_t at = 0;
    for (unsigned i = 0; i < record->n_cookies && at + 1 < sizeof f->cookies; i++) {
        size_t n;
        if (!lt_span_percent_decode(record->cookies[i].value, f->cookies + at, sizeof f->cookies - at - 1, &n))
            continue;
        at += n;
        f->cookies[at++] = '\n';
    }
    f->cookies[at < sizeof f->cookies ? at : at - 1] = '\0';
    snprintf(f->route, sizeof f->route, "%.*s", (int)lt_span_find(path, '?'), path.p);
    lt_list_init(&f->node);
    pthread_mutex_lock(&lock);
    lt_list_append(&all, &f->node);
    pthread_mutex_unlock(&lock);
}

void in_flight_remove(struct in_flight *f) {
    if (!f->node.next)
        return;
    pthread_mutex_lock(&lock);
    lt_list_remove(&f->node);
    pthread_mutex_unlock(&lock);
}

// An id stands in its cookie, signed perhaps ("s:<id>.<signature>"), or the cookie in it ("koa:sess:<id>"). It is long and random: no other's holds
// it by chance.
static bool belongs(const struct in_flight *f, struct lt_span id) {
    struct lt_span rest = lt_span_cstr(f->cookies);
    while (rest.n) {
        size_t n = lt_span_find(rest, '\n');
        if (n >= ID_MIN && id.n >= ID_MIN && (memmem(rest.p, n, id.p, id.n) || memmem(id.p, id.n, rest.p, n)))
            return true;
        n = n < rest.n ? n + 1 : n;
        rest = lt_span(rest.p + n, rest.n - n);
    }
    return false;
}

// Under the lock.
static struct in_flight *find(struct lt_span id) {
    for (struct lt_list *n = all.next; n != &all; n = n->next)
        if (belongs(LT_ENTRY(n, struct in_flight, node), id))
            return LT_ENTRY(n, struct in_flight, node);
    return NULL;
}

void in_flight_miss(struct lt_span id) {
    char route[sizeof((struct in_flight *)0)->route] = "";
    pthread_mutex_lock(&lock);
    const struct in_flight *f = find(id);
    if (f)
        snprintf(route, sizeof route, "%s", f->route);
    pthread_mutex_unlock(&lock);
    if (*route)
        lt_lost_add("adapter_miss", lt_span_cstr(route));
}

void in_flight_saw(struct lt_span id, uint64_t version) {
    pthread_mutex_lock(&lock);
    struct in_flight *f = find(id);
    if (f)
        f->version = version;
    pthread_mutex_unlock(&lock);
}

uint64_t in_flight_version(struct lt_span id) {
    pthread_mutex_lock(&lock);
    const struct in_flight *f = find(id);
    uint64_t version = f ? f->version : 0;
    pthread_mutex_unlock(&lock);
    return version;
}
