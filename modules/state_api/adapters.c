// SPDX-License-Identifier: Apache-2.0
#include "modules/state_api/state.h"

#include <pthread.h>
#include <stdio.h>

enum { ROWS = 16, TEXT = 160 };

// What has been said since the start: an application of many processes says the same thing many times.
static struct row { char text[TEXT]; } rows[ROWS];
static unsigned n_rows;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static bool is_new(const char *text) {
    bool fresh = true;
    pthread_mutex_lock(&lock);
    for (unsigned i = 0; fresh && i < n_rows; i++)
        fresh = strcmp(rows[i].text, text) != 0;
    if (fresh && n_rows < ROWS)
        snprintf(rows[n_rows++].text, TEXT, "%s", text);
    pthread_mutex_unlock(&lock);
    return fresh;
}

void adapters_note(struct lt_span adapter, struct lt_span store, bool hooked, struct lt_span detail) {
    char text[TEXT];
    snprintf(text, sizeof text, "%.*s|%.*s|%d", (int)adapter.n, adapter.p, (int)store.n, store.p, hooked);
    if (!is_new(text))
        return;
    if (hooked)
        LT_LOG(LT_LOG_INFO, "adapter_hooked", lt_f("adapter", adapter), lt_f("store", store), lt_f("detail", detail));
    else
        LT_LOG(LT_LOG_WARN, "adapter_failed", lt_f("adapter", adapter), lt_f("store", store), lt_f("why", detail));
}
