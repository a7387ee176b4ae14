// SPDX-License-Identifier: Apache-2.0
#include "modules/audit/measure.h"

#include "tests/rig/leaks.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static struct lt_loop loop;
static struct measure m;
static char top[64];
static int root;
static unsigned ended;

static void done(struct measure *measure) {
    (void)measure;
    ended++;
    lt_loop_stop(&loop);
}

// $T is the top.
static void run(const char *command) {
    cr_assert_eq(system(command), 0, "%s", command);
}

static void begin(void) {
    snprintf(top, sizeof top, "/tmp/lt-measure-XXXXXX");
    cr_assert(mkdtemp(top));
    setenv("T", top, 1);
    root = open(top, O_RDONLY | O_DIRECTORY);
    cr_assert_eq(lt_loop_init(&loop), LT_OK);
    measure_init(&m, &loop, done);
    ended = 0;
}

static void end(void) {
    measure_fini(&m);
    lt_loop_fini(&loop);
    close(root);
    run("rm -rf $T");
    lt_rig_leaks();
}

TestSuite(measure, .init = begin, .fini = end);

static void take(int64_t since) {
    unsigned before = ended;
    measure_begin(&m, root, since);
    loop.stopped = false;
    lt_loop_run(&loop);
    cr_assert_eq(ended, before + 1);
}

Test(measure, adds_up) {
    take(0);
    uint64_t empty = m.bytes;
    run("mkdir -p $T/a/b && head -c 100000 /dev/urandom > $T/a/b/big");
    run("head -c 50000 /dev/urandom > $T/small; ln -s / $T/link");
    take(0);
    cr_assert_geq(m.bytes - empty, 150000);
    cr_assert_leq(m.bytes - empty, 150000 + 64 * 1024);
    cr_assert_eq(m.files, 5);
    cr_assert_str_eq(m.new_path, "a/b/big");
    cr_assert_not(m.cut);
    take(INT64_MAX / 2); // nothing is that new
    cr_assert_str_eq(m.new_path, "");
}

Test(measure, too_deep) {
    run("d=$T; for i in $(seq 40); do d=$d/d; done; mkdir -p $d");
    take(0);
    cr_assert(m.cut);
    cr_assert_eq(m.files, MEASURE_DEPTH);
}

Test(measure, many_files_in_steps) {
    run("cd $T && seq 5000 | xargs touch");
    take(0);
    cr_assert_eq(m.files, 5000);
}

Test(measure, ends_in_the_middle) {
    run("mkdir -p $T/a/b/c $T/d");
    measure_begin(&m, root, 0);
    measure_fini(&m);
    cr_assert_eq(ended, 0);
}
