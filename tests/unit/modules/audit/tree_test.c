// SPDX-License-Identifier: Apache-2.0
// A tree of its own below /tmp; events are read by turning the loop.
#include "modules/audit/tree.h"

#include "tests/rig/leaks.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static struct lt_loop loop;
static struct tree tree;
static char top[64], told[4096];
static int root;

static bool skip(void *user, const char *path, int fd) {
    (void)user;
    return fd < 0 || strcmp(path, "skipped") == 0;
}

static void written(void *user, const char *path) {
    (void)user;
    strcat(told, path);
    strcat(told, " ");
}

static bool allowed(void *user, const char *path) {
    (void)user;
    return strstr(path, ".tmp") != NULL;
}

static const struct tree_ops ops = {skip, written, allowed};

// $T is the top.
static void run(const char *command) {
    cr_assert_eq(system(command), 0, "%s", command);
}

// All that has happened so far was told.
static void settle(void) {
    do
        event_base_loop(loop.base, EVLOOP_NONBLOCK);
    while (!tree_is_complete(&tree) || event_base_loop(loop.base, EVLOOP_NONBLOCK) != 0 || loop.timers > 0);
}

static void begin_with(unsigned max) {
    cr_assert(tree_init(&tree, &loop, root, max, &ops, NULL));
    settle();
}

static void begin(void) {
    snprintf(top, sizeof top, "/tmp/lt-tree-XXXXXX");
    cr_assert(mkdtemp(top));
    setenv("T", top, 1);
    root = open(top, O_RDONLY | O_DIRECTORY);
    cr_assert_eq(lt_loop_init(&loop), LT_OK);
    told[0] = '\0';
    run("mkdir -p $T/a/b");
}

static void end(void) {
    tree_fini(&tree);
    lt_loop_fini(&loop);
    close(root);
    run("rm -rf $T");
    lt_rig_leaks();
}

TestSuite(tree, .init = begin, .fini = end);

static void expect(const char *want) {
    settle();
    cr_assert_str_eq(told, want);
    told[0] = '\0';
}

Test(tree, files_by_their_paths) {
    run("echo before > $T/old");
    begin_with(100);
    run("echo x > $T/top");
    expect("top ");
    run("echo x > $T/a/b/deep");
    expect("a/b/deep ");
    run("cat $T/old > /dev/null"); // reading is nothing
    run("rm $T/old");
    expect("");
}

Test(tree, new_directories_with_what_is_in_them) {
    begin_with(100);
    run("mkdir -p $T/n/m && echo x > $T/n/m/file");
    expect("n/m/file ");
    run("echo x > $T/n/m/second");
    expect("n/m/second ");
}

// The directory is watched and still to be scanned when a file comes: event and scan both see it.
Test(tree, a_file_before_the_scan_is_told_once) {
    begin_with(100);
    run("echo x > $T/a/known");
    expect("a/known ");
    run("mkdir $T/n");
    event_base_loop(loop.base, EVLOOP_NONBLOCK);
    lt_timer_clear(&loop, &tree.step); // the scan waits for us
    run("echo x > $T/n/file && mv $T/a/known $T/n/");
    event_base_loop(loop.base, EVLOOP_NONBLOCK);
    cr_assert_str_eq(told, "n/file ");
    lt_timer_set(&loop, &tree.step, 0);
    expect("n/file ");
    run("echo x > $T/n/second");
    expect("n/second ");
}

Test(tree, renames) {
    begin_with(100);
    run("echo x > $T/a/f.new");
    expect("a/f.new ");
    run("mv $T/a/f.new $T/a/f");
    expect(""); // it was told of already
    run("echo x > $T/a/g.tmp");
    expect("a/g.tmp "); // whether it is allowed is for the user to say
    run("mv $T/a/g.tmp $T/a/g");
    expect("a/g "); // but that it is no longer
    run("mv $T/a $T/moved");
    run("echo x > $T/moved/b/h");
    expect("moved/b/h "); // by its new name
}

Test(tree, from_outside) {
    begin_with(100);
    run("mkdir $T-out");
    run("echo x > $T-out/f");
    run("mkdir $T-out/d && echo x > $T-out/d/g");
    expect("");
    run("mv $T-out/f $T/");
    expect("f ");
    run("mv $T-out/d $T/");
    expect("d/g ");
    run("rm -rf $T-out");
}

Test(tree, links_lead_nowhere) {
    run("ln -s /etc $T/link");
    begin_with(100);
    cr_assert_eq(tree.live, 3); // the top, a, b
    cr_assert_lt(tree_open(root, "link", O_RDONLY | O_DIRECTORY), 0);
    cr_assert_lt(tree_open(root, "../", O_RDONLY | O_DIRECTORY), 0);
    int fd = tree_open(root, "a/b", O_RDONLY | O_DIRECTORY);
    cr_assert_geq(fd, 0);
    close(fd);
}

Test(tree, limits_and_skipping) {
    run("mkdir $T/skipped $T/c $T/d");
    begin_with(4);
    cr_assert_eq(tree.live, 4);
    cr_assert_gt(tree.skipped, 0);
    told[0] = '\0';
    run("echo x > $T/skipped/f");
    expect("");
}

Test(tree, many_that_come_and_go) {
    begin_with(1000);
    for (int i = 0; i < 5; i++) {
        run("for i in $(seq 200); do mkdir $T/x$i; done");
        settle();
        cr_assert_eq(tree.live, 203);
        run("rmdir $T/x*");
        settle();
        cr_assert_eq(tree.live, 3);
    }
    cr_assert_leq(tree.cap, 1024);
    run("echo x > $T/a/b/f");
    expect("a/b/f ");
}
