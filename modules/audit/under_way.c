// SPDX-License-Identifier: Apache-2.0
#include "modules/audit/under_way.h"

#include "base/clock.h"

#include <stdio.h>

static pthread_mutex_t all_lock = PTHREAD_MUTEX_INITIALIZER;
static struct lt_list all = {&all, &all};

void under_way_init(struct under_way_list *l) {
    pthread_mutex_init(&l->lock, NULL);
    lt_list_init(&l->running);
    pthread_mutex_lock(&all_lock);
    lt_list_append(&all, &l->all);
    pthread_mutex_unlock(&all_lock);
}

void under_way_fini(struct under_way_list *l) {
    pthread_mutex_lock(&all_lock);
    lt_list_remove(&l->all);
    pthread_mutex_unlock(&all_lock);
    pthread_mutex_destroy(&l->lock);
}

void under_way_begin(struct under_way_list *l, struct under_way *u, struct lt_span path) {
    lt_route(path, u->route);
    u->began = lt_clock_wall();
    pthread_mutex_lock(&l->lock);
    lt_list_append(&l->running, &u->node);
    pthread_mutex_unlock(&l->lock);
}

void under_way_end(struct under_way_list *l, struct under_way *u) {
    u->ended = lt_clock_wall();
    pthread_mutex_lock(&l->lock);
    lt_list_remove(&u->node);
    l->ended[l->n_ended++ % UNDER_WAY_ENDED] = *u;
    pthread_mutex_unlock(&l->lock);
}

struct question {
    int64_t from, to;
    unsigned found;
    char *route;
};

static void consider(struct question *q, const struct under_way *u, int64_t ended) {
    if (u->began > q->to || ended < q->from)
        return;
    q->found++;
    snprintf(q->route, LT_ROUTE, "%s", u->route);
}

static void ask(struct question *q, const struct under_way_list *l) {
    for (const struct lt_list *n = l->running.next; n != &l->running; n = n->next)
        consider(q, LT_ENTRY(n, const struct under_way, node), INT64_MAX);
    unsigned kept = l->n_ended < UNDER_WAY_ENDED ? l->n_ended : UNDER_WAY_ENDED;
    for (unsigned i = 0; i < kept; i++)
        consider(q, &l->ended[i], l->ended[i].ended);
    // What was overwritten ended before the oldest that is kept, and may have run at the moment, too.
    if (l->n_ended > UNDER_WAY_ENDED && l->ended[l->n_ended % UNDER_WAY_ENDED].ended >= q->from)
        q->found = 2;
}

void under_way_route(int64_t from, int64_t to, char route[LT_ROUTE]) {
    struct question q = {.from = from, .to = to, .route = route};
    pthread_mutex_lock(&all_lock);
    for (struct lt_list *n = all.next; n != &all; n = n->next) {
        struct under_way_list *l = LT_ENTRY(n, struct under_way_list, all);
        pthread_mutex_lock(&l->lock);
        ask(&q, l);
        pthread_mutex_unlock(&l->lock);
    }
    pthread_mutex_unlock(&all_lock);
    if (q.found != 1)
        snprintf(route, LT_ROUTE, "?");
}
