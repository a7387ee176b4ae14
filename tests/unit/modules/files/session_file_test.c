// SPDX-License-Identifier: Apache-2.0
#include "modules/files/session_file.h"

#include "tests/rig/leaks.h"

#include <criterion/criterion.h>
#include <criterion/parameterized.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

static char path[] = "/tmp/lethe-files-XXXXXX";
static struct files_dir dir;
static const char *why;
static struct file_mark mark;
static uint64_t fence = 100;

static void begin(void) {
    cr_assert(mkdtemp(path));
    signal(SIGIO, SIG_IGN);
    dir = (struct files_dir){open(path, O_RDONLY | O_DIRECTORY), geteuid(), getegid(), BARRIER_FLOCK, ".lock"};
}

static void end(void) {
    char command[64];
    snprintf(command, sizeof command, "rm -rf %s", path);
    close(dir.fd);
    cr_assert_eq(system(command), 0);
    lt_rig_leaks();
}

TestSuite(session_file, .init = begin, .fini = end);

static const enum files_barrier barriers[] = {BARRIER_FLOCK, BARRIER_LOCK, BARRIER_RENAME, BARRIER_CLOSE};
enum { BARRIERS = sizeof barriers / sizeof *barriers };

// Under a fence far from the one before: what the application has written meanwhile does not count.
static enum file_result put(const char *name, const char *text) {
    struct lt_buf found;
    lt_buf_init(&found, 1 << 20);
    enum file_result r = file_place(&dir, name, lt_span_cstr(text), fence += 10, &found, &mark, &why);
    lt_buf_fini(&found);
    return r;
}

static enum file_result get(const char *name, size_t max) {
    struct lt_buf out;
    struct file_mark ignored;
    lt_buf_init(&out, max);
    enum file_result r = file_take(&dir, name, &out, &ignored, &why);
    lt_buf_fini(&out);
    return r;
}

static void expect(const char *name, const char *text) {
    struct lt_buf out;
    struct file_mark now;
    lt_buf_init(&out, 1 << 20);
    cr_assert_eq(file_take(&dir, name, &out, &now, &why), FILE_OK);
    cr_assert(lt_span_eq(lt_buf_span(&out), lt_span_cstr(text)), "%.*s", (int)out.len, out.p);
    lt_buf_fini(&out);
}

static void write_as_application(const char *name, const char *text) {
    int fd = openat(dir.fd, name, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    cr_assert(fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text));
    close(fd);
}

static struct stat stat_of(const char *name) {
    struct stat st;
    cr_assert_eq(fstatat(dir.fd, name, &st, 0), 0, "%s", name);
    return st;
}

Test(session_file, writes_and_reads) {
    for (int i = 0; i < BARRIERS; i++) {
        dir.barrier = barriers[i];
        cr_assert_eq(put("s", "one"), FILE_OK);
        expect("s", "one");
        ino_t first = stat_of("s").st_ino;
        cr_assert_eq(put("s", "a longer one"), FILE_OK);
        expect("s", "a longer one");
        cr_assert_eq(stat_of("s").st_ino == first, dir.barrier == BARRIER_FLOCK,
                     "in place where the application may hold it open, else by rename");
        cr_assert_eq(put("s", "x"), FILE_OK);
        expect("s", "x");
        cr_assert_eq(put("s", ""), FILE_OK);
        expect("s", "");
        cr_assert_eq(stat_of("s").st_mode & 0777, 0600);
        cr_assert_eq(file_remove(&dir, "s", &why), FILE_OK);
        cr_assert_eq(file_remove(&dir, "s", &why), FILE_OK);
        cr_assert_eq(get("s", 100), FILE_MISSING);
    }
}

Test(session_file, leaves_no_other_file_behind) {
    char command[96];
    dir.barrier = BARRIER_RENAME;
    cr_assert_eq(put("s", "one"), FILE_OK);
    cr_assert_eq(mkdirat(dir.fd, "d", 0700), 0);
    cr_assert_neq(put("d", "one"), FILE_OK, "a directory has the name");
    snprintf(command, sizeof command, "test \"$(ls -A %s | tr '\\n' ' ')\" = 'd s '", path);
    cr_assert_eq(system(command), 0);
}

Test(session_file, what_is_there_already_only_gets_a_new_time) {
    struct timespec old[2] = {{.tv_sec = 1000}, {.tv_sec = 1000}};
    for (int i = 0; i < BARRIERS; i++) {
        dir.barrier = barriers[i];
        cr_assert_eq(put("s", "one"), FILE_OK);
        cr_assert_eq(utimensat(dir.fd, "s", old, 0), 0);
        cr_assert_eq(put("s", "one"), FILE_SAME);
        cr_assert_gt(stat_of("s").st_mtim.tv_sec, 1000);
        cr_assert_eq(put("s", "two"), FILE_OK, "the same size is not the same");
    }
}

Test(session_file, nested_names) {
    for (int i = 0; i < BARRIERS; i++) {
        dir.barrier = barriers[i];
        cr_assert_eq(put("a/ab/s", "one"), FILE_OK);
        expect("a/ab/s", "one");
        cr_assert_eq(file_remove(&dir, "a/ab/s", &why), FILE_OK);
        cr_assert_eq(get("b/s", 100), FILE_MISSING);
    }
}

// --- the application's own locks ---

Test(session_file, its_flock_is_the_barrier) {
    cr_assert_eq(put("s", "one"), FILE_OK);
    int fd = openat(dir.fd, "s", O_RDWR);
    cr_assert_eq(flock(fd, LOCK_EX), 0);
    cr_assert_eq(get("s", 100), FILE_BUSY);
    cr_assert_eq(put("s", "two"), FILE_BUSY);
    cr_assert_eq(file_remove(&dir, "s", &why), FILE_BUSY);
    cr_assert_eq(flock(fd, LOCK_UN), 0);
    expect("s", "one");
    close(fd);
}

Test(session_file, a_lock_on_a_file_that_was_replaced_says_nothing) {
    cr_assert_eq(put("s", "one"), FILE_OK);
    cr_assert_eq(renameat(dir.fd, "s", dir.fd, "old"), 0);
    write_as_application("s", "two");
    expect("s", "two");
}

Test(session_file, its_lock_file_is_the_barrier) {
    dir.barrier = BARRIER_LOCK;
    cr_assert_eq(put("s", "one"), FILE_OK);
    int fd = openat(dir.fd, "s.lock", O_RDWR | O_CREAT, 0600);
    cr_assert_eq(flock(fd, LOCK_EX), 0);
    cr_assert_eq(get("s", 100), FILE_BUSY);
    cr_assert_eq(put("s", "two"), FILE_BUSY);
    cr_assert_eq(file_remove(&dir, "s", &why), FILE_BUSY);
    close(fd);
    expect("s", "one");
}

Test(session_file, complete_when_nobody_has_it_open_for_writing) {
    dir.barrier = BARRIER_CLOSE;
    cr_assert_eq(put("s", "one"), FILE_OK);
    int fd = openat(dir.fd, "s", O_WRONLY);
    cr_assert_eq(get("s", 100), FILE_BUSY);
    close(fd);
    fd = openat(dir.fd, "s", O_RDONLY);
    expect("s", "one");
    close(fd);
}

// --- after a crash ---

static enum file_result place_with(uint64_t with, const char *text, char found_text[64]) {
    struct lt_buf found;
    lt_buf_init(&found, 63);
    enum file_result r = file_place(&dir, "s", lt_span_cstr(text), with, &found, &mark, &why);
    snprintf(found_text, 64, "%.*s", (int)found.len, found.len ? found.p + found.off : "");
    lt_buf_fini(&found);
    return r;
}

Test(session_file, what_was_written_under_the_lock_before_is_taken) {
    char found[64];
    for (int i = 0; i < BARRIERS; i++) {
        dir.barrier = barriers[i];
        cr_assert_eq(place_with(7, "one", found), FILE_OK);
        cr_assert_eq(file_fence(&dir, "s"), 7);
        write_as_application("s", "two"); // and lethe died before the commit
        cr_assert_eq(place_with(8, "one", found), FILE_NEWER);
        cr_assert_str_eq(found, "two");
        expect("s", "two");
        cr_assert_eq(place_with(9, "two", found), FILE_SAME);
        write_as_application("s", "three");
        cr_assert_eq(place_with(11, "two", found), FILE_OK, "another replica has had the lock in between");
        expect("s", "two");
        write_as_application("s", "four");
        file_disown(&dir, "s");
        cr_assert_eq(place_with(12, "two", found), FILE_OK, "the application broke off");
        cr_assert_eq(file_remove(&dir, "s", &why), FILE_OK);
    }
}

Test(session_file, the_mark_tells_of_a_write) {
    struct file_mark now;
    dir.barrier = BARRIER_RENAME;
    cr_assert_eq(put("s", "one"), FILE_OK);
    cr_assert(file_look(&dir, "s", &now) && file_mark_eq(&now, &mark));
    write_as_application("new", "one");
    cr_assert_eq(renameat(dir.fd, "new", dir.fd, "s"), 0);
    cr_assert(file_look(&dir, "s", &now) && !file_mark_eq(&now, &mark));
    cr_assert_not(file_look(&dir, "other", &now));
}

// --- what does not belong there ---

Test(session_file, too_large) {
    cr_assert_eq(put("s", "four"), FILE_OK);
    cr_assert_eq(get("s", 3), FILE_LARGE);
    cr_assert_eq(get("s", 4), FILE_OK);
}

static void refused(const char *name, const char *reason) {
    for (int i = 0; i < BARRIERS; i++) {
        dir.barrier = barriers[i];
        why = "";
        cr_assert_eq(get(name, 100), FILE_REFUSED, "take %s", name);
        cr_assert(strstr(why, reason), "%s", why);
        cr_assert_eq(put(name, "x"), FILE_REFUSED, "place %s", name);
        cr_assert_eq(file_remove(&dir, name, &why), FILE_REFUSED, "remove %s", name);
    }
}

// Whoever can write into the directory must not lead lethe, which may be root, anywhere else, or make it hang.
Test(session_file, links_are_refused) {
    char target[64];
    snprintf(target, sizeof target, "%s/other", path);
    cr_assert_eq(put("other", "secret"), FILE_OK);
    cr_assert_eq(symlinkat(target, dir.fd, "s"), 0);
    refused("s", "symbolic link");
    cr_assert_eq(symlinkat("/tmp", dir.fd, "a"), 0);
    refused("a/s", "symbolic link");
    cr_assert_eq(linkat(dir.fd, "other", dir.fd, "hard", 0), 0);
    refused("hard", "more than one name");
    dir.barrier = BARRIER_FLOCK;
    cr_assert_eq(unlinkat(dir.fd, "hard", 0), 0);
    expect("other", "secret");
    refused("../etc", "leads out");
}

Test(session_file, what_is_no_file_is_refused) {
    struct sockaddr_un at = {.sun_family = AF_UNIX};
    snprintf(at.sun_path, sizeof at.sun_path, "%s/socket", path);
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    cr_assert_eq(bind(fd, (struct sockaddr *)&at, sizeof at), 0);
    refused("socket", "socket");
    close(fd);
    cr_assert_eq(mkfifoat(dir.fd, "fifo", 0600), 0);
    dir.barrier = BARRIER_FLOCK;
    cr_assert_eq(get("fifo", 100), FILE_REFUSED);
    cr_assert_eq(put("fifo", "x"), FILE_REFUSED);
}

// As root, which the owner's rule is made for: PHP takes no file of another user.
Test(session_file, files_belong_to_the_application) {
    if (geteuid() != 0)
        cr_skip_test("needs root");
    dir.owner = dir.group = 33;
    for (int i = 0; i < BARRIERS; i++) {
        dir.barrier = barriers[i];
        cr_assert_eq(put("s", "one"), FILE_OK);
        cr_assert(stat_of("s").st_uid == 33 && stat_of("s").st_gid == 33);
        cr_assert_eq(fchownat(dir.fd, "s", 0, 0, 0), 0);
        cr_assert_eq(put("s", "two"), FILE_OK, "ours, from before a crash");
        cr_assert(stat_of("s").st_uid == 33);
        cr_assert_eq(put("d/s", "two"), FILE_OK);
        cr_assert(stat_of("d").st_uid == 33);
        cr_assert_eq(file_remove(&dir, "d/s", &why), FILE_OK);
    }
    cr_assert_eq(fchownat(dir.fd, "s", 34, 34, 0), 0);
    refused("s", "another user");
}
