// SPDX-License-Identifier: Apache-2.0
#include "net/postgres_library.h"

#include "tests/rig/leaks.h"

#include <criterion/criterion.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

TestSuite(postgres_library, .fini = lt_rig_leaks);

static bool is_mapped(void) {
    FILE *f = fopen("/proc/self/maps", "r");
    char line[512];
    bool found = false;
    cr_assert_not_null(f);
    while (fgets(line, sizeof line, f))
        found = found || strstr(line, "libpq.so");
    fclose(f);
    return found;
}

static void *load(void *arg) {
    pthread_barrier_wait(arg);
    const char *missing = lt_pq_load();
    return missing ? (void *)missing : (void *)lt_pq.PQclear; // whoever comes second finds all of it as well
}

Test(postgres_library, comes_when_it_is_asked_for) {
    enum { THREADS = 8 };
    static const char zero[sizeof lt_pq];
    pthread_t threads[THREADS];
    pthread_barrier_t start;
    cr_assert_not(is_mapped());
    cr_assert_eq(memcmp(&lt_pq, zero, sizeof lt_pq), 0);
    pthread_barrier_init(&start, NULL, THREADS);
    for (unsigned i = 0; i < THREADS; i++)
        cr_assert_eq(pthread_create(&threads[i], NULL, load, &start), 0);
    for (unsigned i = 0; i < THREADS; i++) {
        void *got = NULL;
        pthread_join(threads[i], &got);
        cr_assert_eq(got, (void *)lt_pq.PQclear);
    }
    pthread_barrier_destroy(&start);
    cr_assert(is_mapped() && lt_pq_load() == NULL);
#define HAS(name) cr_assert(lt_pq.name != NULL, #name);
    LT_PQ_FUNCTIONS(HAS)
}
