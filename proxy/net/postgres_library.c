// SPDX-License-Identifier: Apache-2.0
#include "net/postgres_library.h"

#include <dlfcn.h>
#include <pthread.h>
#include <stddef.h>
#include <string.h>

struct lt_pq lt_pq;

#define ROW(name) {#name, offsetof(struct lt_pq, name)},
static const struct {
    const char *name;
    size_t at;
} functions[] = {LT_PQ_FUNCTIONS(ROW)};

static pthread_once_t once = PTHREAD_ONCE_INIT;
static const char *missing;

// It is never unloaded: what it drags in keeps things for each thread.
static void load(void) {
    void *library = dlopen("libpq.so.5", RTLD_NOW | RTLD_LOCAL);
    if (!library) {
        missing = "libpq.so.5 is not here; install libpq5";
        return;
    }
    for (size_t i = 0; i < sizeof functions / sizeof *functions; i++) {
        void *found = dlsym(library, functions[i].name);
        memcpy((char *)&lt_pq + functions[i].at, &found, sizeof found); // C knows no cast from data to a function
        if (!found)
            missing = "libpq.so.5 is too old; install libpq5 14 or newer";
    }
}

const char *lt_pq_load(void) {
    pthread_once(&once, load);
    return missing;
}
