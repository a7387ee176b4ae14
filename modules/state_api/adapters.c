// SPDX-License-Identifier: Apache-2.0
#include "modules/state_api/state.h"

#include <pthread.h>
#include <stdio.h>

enum { ROWS = 16, TEXT = 160 };

// What has been said since the start: an application of many processes says the same thing many times.
struct row {
    char text[TEXT]; // "node: express-session MemoryStore"
    bool hooked;
};
static struct row rows[ROWS];
static unsigned n_rows;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static bool is_new(const char *text, bool hooked) {
    bool fresh = true;
    pthread_mutex_lock(&lock);
    for (unsigned i = 0; fresh && i < n_rows; i++)
        fresh = rows[i].hooked != hooked || strcmp(rows[i].text, text) != 0;
    if (fresh && n_rows < ROWS) {
        snprintf(rows[n_rows].text, TEXT, "%s", text);
        rows[n_rows++].hooked = hooked;
    }
    pthread_mutex_unlock(&lock);
    return fresh;
}

void adapters_note(struct lt_span adapter, struct lt_span store, bool hooked, struct lt_span detail) {
    char text[TEXT];
    snprintf(text, sizeof text, "%.*s: %.*s", (int)adapter.n, adapter.p, (int)store.n, store.p);
    if (!is_new(text, hooked))
        return;
    if (hooked)
        LT_LOG(LT_LOG_INFO, "adapter_hooked", lt_f("adapter", adapter), lt_f("store", store), lt_f("detail", detail));
    else
        LT_LOG(LT_LOG_WARN, "adapter_failed", lt_f("adapter", adapter), lt_f("store", store), lt_f("detail", detail));
}

unsigned adapters_examine(struct lt_exam *e) {
    unsigned hooked = 0;
    pthread_mutex_lock(&lock);
    for (unsigned i = 0; i < n_rows; i++) {
        hooked += rows[i].hooked;
        lt_exam_note(e, "%s %s", rows[i].text,
                     rows[i].hooked ? "is hooked" : "is not hooked: see the log event adapter_failed");
    }
    pthread_mutex_unlock(&lock);
    return hooked;
}
