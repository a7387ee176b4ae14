// SPDX-License-Identifier: Apache-2.0
#include "modules/health/cgroup.h"

#include "tests/rig/leaks.h"

#include <criterion/criterion.h>
#include <stdio.h>

TestSuite(cgroup, .fini = lt_rig_leaks);

static struct cgroup find(const char *fixture) {
    struct cgroup c;
    char root[512];
    snprintf(root, sizeof root, FIXTURES "%s", fixture);
    cgroup_find(&c, root);
    return c;
}

Test(cgroup, memory_without_what_can_be_taken_back) {
    static const struct {
        const char *fixture;
        int percent;
    } rows[] = {
        {"v2", 75}, // (900 - 150) MB of 1000, not the root's
        {"v2_container", 97}, {"v2_unlimited", -1},
        {"v1", 50}, // (150 - 50) MB of 200: total_inactive_file, not the group's own inactive_file
        {"v1_unlimited", -1}, {"broken", -1},
        {"not_there", -1},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct cgroup c = find(rows[i].fixture);
        cr_assert_eq(cgroup_memory(&c), rows[i].percent, "%s: %d", rows[i].fixture, cgroup_memory(&c));
    }
}

// CPU time that the group had used at the last look, one second ago.
static int cpu_after(const char *fixture, int64_t before_us) {
    struct cgroup c = find(fixture);
    cr_assert_eq(cgroup_cpu(&c, 50000), -1, "%s: the first look says nothing", fixture);
    c.cpu_usage = before_us;
    return cgroup_cpu(&c, 51000);
}

Test(cgroup, cpu_of_the_quota) {
    static const struct {
        const char *fixture;
        int64_t before;
        int percent;
    } rows[] = {
        {"v2", 4000000, 50}, // one of two CPUs' seconds
        {"v2", 5000000, 0},
        {"v2", 2800000, 110},          // a burst
        {"v2_container", 500000, 100}, // half a second of half a CPU
        {"v1", 2600000, 80},           // cpuacct.usage is in nanoseconds
        {"v2_unlimited", 0, -1},
        {"v1_unlimited", 0, -1},
        {"broken", 0, -1},
        {"not_there", 0, -1},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        int percent = cpu_after(rows[i].fixture, rows[i].before);
        cr_assert_eq(percent, rows[i].percent, "%s: %d", rows[i].fixture, percent);
    }
}

Test(cgroup, cpu_is_not_judged_by_a_moment) {
    struct cgroup c = find("v2");
    cgroup_cpu(&c, 50000);
    c.cpu_usage = 3200000;
    int percent = cgroup_cpu(&c, 51000);
    cr_assert_eq(percent, 90);
    cr_assert_eq(cgroup_cpu(&c, 51099), 90, "right after it the same");
    cr_assert_eq(cgroup_cpu(&c, 51100), 0, "nothing was used since");
}

Test(cgroup, cpu_counter_that_went_back) {
    cr_assert_eq(cpu_after("v2", 6000000), -1, "another group now");
}

Test(cgroup, pressure) {
    static const struct {
        const char *fixture;
        int percent;
    } rows[] = {
        {"v2", 41},           // the larger of the group's two; neither "full" nor the machine's
        {"v2_unlimited", 61}, // the machine's
        {"v2_container", -1}, {"v1", -1}, {"broken", -1}, {"not_there", -1},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct cgroup c = find(rows[i].fixture);
        cr_assert_eq(cgroup_pressure(&c), rows[i].percent, "%s: %d", rows[i].fixture, cgroup_pressure(&c));
    }
}

Test(cgroup, long_paths_are_not_cut_into_others) {
    char root[2 * CGROUP_PATH];
    struct cgroup c;
    memset(root, '/', sizeof root);
    root[sizeof root - 1] = '\0';
    cgroup_find(&c, root);
    cr_assert(cgroup_memory(&c) == -1 && cgroup_cpu(&c, 1) == -1 && cgroup_pressure(&c) == -1);
}

// On whatever machine this runs.
Test(cgroup, the_real_one) {
    struct cgroup c;
    cgroup_find(&c, "");
    cr_assert_geq(cgroup_memory(&c), -1);
    cr_assert_eq(cgroup_cpu(&c, 1), -1);
    cr_assert_geq(cgroup_cpu(&c, 1000001), -1);
    cr_assert_geq(cgroup_pressure(&c), -1);
}
