// SPDX-License-Identifier: Apache-2.0
// store_conformance URL [--large BYTES] [--too-large BYTES] [--only WORD] [--quick]: every operation and result of store/store.h.
// store_conformance URL --away: the server does not answer, or is not there.
#include "bench.h"

#include "base/clock.h"

#include <stdio.h>
#include <stdlib.h>

static void run(const struct check *checks, const char *only, bool quick) {
    for (; checks->name; checks++) {
        if ((only && !strstr(checks->name, only)) || (quick && checks->slow))
            continue;
        unsigned before = bench.failures;
        int64_t began = lt_clock_mono();
        bench.check = checks->name;
        checks->run();
        printf("%s %s (%lld ms)\n", bench.failures == before ? "ok    " : "FAILED", checks->name,
               (long long)(lt_clock_mono() - began));
    }
}

static void expect_down(enum lt_store_kind kind, int64_t at_most) {
    struct lt_store_op *op = bench_owned(kind, "away", "somebody", 2000);
    int64_t began = lt_clock_mono();
    EXPECT_RESULT(bench_run(op), LT_STORE_DOWN);
    int64_t took = lt_clock_mono() - began;
    printf("kind %d: %lld ms\n", (int)kind, (long long)took);
    EXPECT(took <= at_most);
    lt_store_op_free(op);
}

// All kinds within the time limit (a release has its lease), and while the breaker is open a look-up fails at once.
static void away(void) {
    bench.check = "away";
    for (int kind = LT_STORE_LOAD; kind < LT_STORE_KINDS; kind++)
        expect_down((enum lt_store_kind)kind,
                    kind == LT_STORE_RELEASE ? 2000 + 2 * BENCH_TIMEOUT_MS : BENCH_TIMEOUT_MS + 300);
    uint64_t open = atomic_load(&bench.metrics.slots[bench.metrics.first[1]]);
    EXPECT(open == 1);
    EXPECT(atomic_load(&bench.metrics.slots[bench.metrics.first[2 + LT_STORE_BREAKER_OPENED]]) == 1);
}

int main(int argc, char **argv) {
    const char *only = NULL;
    bool is_away = false, quick = false;
    if (argc < 2)
        return 2;
    bench.large = 1 << 20;
    for (int i = 2; i < argc; i++) {
        if (strcmp(argv[i], "--large") == 0 && i + 1 < argc)
            bench.large = strtoull(argv[++i], NULL, 10);
        else if (strcmp(argv[i], "--too-large") == 0 && i + 1 < argc)
            bench.too_large = strtoull(argv[++i], NULL, 10);
        else if (strcmp(argv[i], "--only") == 0 && i + 1 < argc)
            only = argv[++i];
        else if (strcmp(argv[i], "--quick") == 0)
            quick = true;
        else if (strcmp(argv[i], "--away") == 0)
            is_away = true;
    }
    setvbuf(stdout, NULL, _IOLBF, 0);
    if (!bench_init(argv[1], BENCH_TIMEOUT_MS))
        return 2;
    if (is_away) {
        away();
    } else {
        run(record_checks, only, quick);
        run(lock_checks, only, quick);
        run(parallel_checks, only, quick);
    }
    bench_fini();
    printf("%u failures\n", bench.failures);
    return bench.failures ? 1 : 0;
}
