// SPDX-License-Identifier: Apache-2.0
// Which exchange was under way at a given moment: so that a file's time tells the route that wrote it. Each worker keeps its own list
// under its own lock, which nobody else takes but the watcher, and that only when a file was written.
#pragma once

#include "base/list.h"
#include "base/span.h"
#include "modules/audit/findings.h"

#include <pthread.h>
#include <stdint.h>

enum { UNDER_WAY_ENDED = 64 };

struct under_way {
    struct lt_list node;
    int64_t began, ended; // wall clock, ms
    char route[LT_ROUTE];
};

struct under_way_list {
    struct lt_list all; // of every worker's
    pthread_mutex_t lock;
    struct lt_list running;
    struct under_way ended[UNDER_WAY_ENDED]; // a ring of the latest
    unsigned n_ended;                        // in all
};

void under_way_init(struct under_way_list *l);
// No exchange of it may run any more.
void under_way_fini(struct under_way_list *l);

void under_way_begin(struct under_way_list *l, struct under_way *u, struct lt_span path);
void under_way_end(struct under_way_list *l, struct under_way *u);

// The route of the one exchange that ran at any time between the two (wall clock, ms); "?" when there was none, were several, or more have
// ended since than are kept.
void under_way_route(int64_t from, int64_t to, char route[LT_ROUTE]);
