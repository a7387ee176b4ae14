// SPDX-License-Identifier: Apache-2.0
#include "modules/files/session_file.h"

#include "tests/rig/leaks.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

static char path[] = "/tmp/lethe-files-XXXXXX";
static struct files_dir dir;

static void begin(void) {
    cr_assert(mkdtemp(path));
    dir = (struct files_dir){open(path, O_RDONLY | O_DIRECTORY), geteuid(), getegid()};
}

static void end(void) {
    char command[64];
    snprintf(command, sizeof command, "rm -rf %s", path);
    close(dir.fd);
    cr_assert_eq(system(command), 0);
    lt_rig_leaks();
}

TestSuite(session_file, .init = begin, .fini = end);

static void expect(const char *name, const char *text) {
    struct lt_buf out;
    lt_buf_init(&out, 1 << 20);
    cr_assert_eq(file_get(&dir, name, &out), FILE_OK);
    cr_assert(lt_span_eq(lt_buf_span(&out), lt_span_cstr(text)), "%.*s", (int)out.len, out.p);
    lt_buf_fini(&out);
}

static ino_t inode(const char *name) {
    struct stat st;
    cr_assert_eq(fstatat(dir.fd, name, &st, 0), 0);
    return st.st_ino;
}

Test(session_file, writes_in_place) {
    cr_assert_eq(file_put(&dir, "sess_a", LT_S("one")), FILE_OK);
    expect("sess_a", "one");
    ino_t first = inode("sess_a");
    cr_assert_eq(file_put(&dir, "sess_a", LT_S("a longer one")), FILE_OK);
    expect("sess_a", "a longer one");
    cr_assert_eq(file_put(&dir, "sess_a", LT_S("x")), FILE_OK);
    expect("sess_a", "x");
    cr_assert_eq(file_put(&dir, "sess_a", LT_S("")), FILE_OK);
    expect("sess_a", "");
    cr_assert_eq(inode("sess_a"), first, "the application may hold it open");
    struct stat st;
    cr_assert(fstatat(dir.fd, "sess_a", &st, 0) == 0 && (st.st_mode & 0777) == 0600);
}

Test(session_file, what_is_there_already_only_gets_a_new_time) {
    struct timespec old[2] = {{.tv_sec = 1000}, {.tv_sec = 1000}};
    cr_assert_eq(file_put(&dir, "sess_a", LT_S("one")), FILE_OK);
    cr_assert_eq(utimensat(dir.fd, "sess_a", old, 0), 0);
    cr_assert_eq(file_put(&dir, "sess_a", LT_S("one")), FILE_SAME);
    struct stat st;
    cr_assert(fstatat(dir.fd, "sess_a", &st, 0) == 0 && st.st_mtim.tv_sec > 1000);
    cr_assert_eq(file_put(&dir, "sess_a", LT_S("two")), FILE_OK, "the same size is not the same");
}

Test(session_file, the_applications_lock_is_the_barrier) {
    cr_assert_eq(file_put(&dir, "sess_a", LT_S("one")), FILE_OK);
    int fd = openat(dir.fd, "sess_a", O_RDWR);
    struct lt_buf out;
    lt_buf_init(&out, 100);
    cr_assert_eq(flock(fd, LOCK_EX), 0);
    cr_assert_eq(file_get(&dir, "sess_a", &out), FILE_BUSY);
    cr_assert_eq(file_put(&dir, "sess_a", LT_S("two")), FILE_BUSY);
    cr_assert_eq(file_remove(&dir, "sess_a"), FILE_BUSY);
    cr_assert_eq(flock(fd, LOCK_UN), 0);
    expect("sess_a", "one");
    close(fd);
}

Test(session_file, missing_large_and_gone) {
    struct lt_buf out;
    lt_buf_init(&out, 3);
    cr_assert_eq(file_get(&dir, "sess_a", &out), FILE_MISSING);
    cr_assert_eq(file_put(&dir, "sess_a", LT_S("four")), FILE_OK);
    cr_assert_eq(file_get(&dir, "sess_a", &out), FILE_LARGE);
    cr_assert_eq(file_remove(&dir, "sess_a"), FILE_OK);
    cr_assert_eq(file_remove(&dir, "sess_a"), FILE_OK);
    cr_assert_eq(file_get(&dir, "sess_a", &out), FILE_MISSING);
    lt_buf_fini(&out);
}

// Whoever can write into the directory must not lead lethe, which may be root, anywhere else, or make it hang.
Test(session_file, follows_no_link_and_opens_no_fifo) {
    struct lt_buf out;
    char target[64];
    lt_buf_init(&out, 100);
    snprintf(target, sizeof target, "%s/other", path);
    cr_assert_eq(file_put(&dir, "other", LT_S("secret")), FILE_OK);
    cr_assert_eq(symlinkat(target, dir.fd, "sess_a"), 0);
    cr_assert_eq(file_get(&dir, "sess_a", &out), FILE_FAILED);
    cr_assert_eq(file_put(&dir, "sess_a", LT_S("x")), FILE_FAILED);
    expect("other", "secret");
    cr_assert_eq(mkfifoat(dir.fd, "sess_b", 0600), 0);
    cr_assert_eq(file_get(&dir, "sess_b", &out), FILE_FAILED);
    cr_assert_eq(file_put(&dir, "sess_b", LT_S("x")), FILE_FAILED);
    lt_buf_fini(&out);
}

// As root, which the owner's rule is made for: PHP takes no file of another user.
Test(session_file, files_belong_to_the_application) {
    if (geteuid() != 0)
        cr_skip_test("needs root");
    struct files_dir of_app = {dir.fd, 33, 33};
    struct stat st;
    cr_assert_eq(file_put(&of_app, "sess_a", LT_S("one")), FILE_OK);
    cr_assert(fstatat(dir.fd, "sess_a", &st, 0) == 0 && st.st_uid == 33 && st.st_gid == 33);
    cr_assert_eq(fchownat(dir.fd, "sess_a", 0, 0, 0), 0);
    cr_assert_eq(file_put(&of_app, "sess_a", LT_S("two")), FILE_OK);
    cr_assert(fstatat(dir.fd, "sess_a", &st, 0) == 0 && st.st_uid == 33);
}
