// SPDX-License-Identifier: Apache-2.0
#include "modules/files/session_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

// O_NONBLOCK: a fifo that somebody left there must not stop the worker.
enum { FLAGS = O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK };

static enum file_result closed(int fd, enum file_result r) {
    int kept = errno;
    close(fd);
    errno = kept;
    return r;
}

// The lock counts only if `name` is still this inode: the application may have removed and remade it meanwhile.
static enum file_result lock(const struct files_dir *dir, int fd, const char *name, int how, struct stat *st) {
    struct stat named;
    if (flock(fd, how | LOCK_NB) != 0)
        return errno == EWOULDBLOCK ? FILE_BUSY : FILE_FAILED;
    if (fstat(fd, st) != 0)
        return FILE_FAILED;
    if (!S_ISREG(st->st_mode)) {
        errno = EINVAL; // a directory, a device: not the application's doing
        return FILE_FAILED;
    }
    if (fstatat(dir->fd, name, &named, AT_SYMLINK_NOFOLLOW) != 0 || named.st_ino != st->st_ino)
        return FILE_BUSY;
    return FILE_OK;
}

static bool read_at(int fd, char *out, size_t n, off_t at) {
    while (n) {
        ssize_t got = pread(fd, out, n, at);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            return false;
        out += got;
        n -= (size_t)got;
        at += got;
    }
    return true;
}

static bool write_at(int fd, struct lt_span bytes) {
    off_t at = 0;
    while (bytes.n) {
        ssize_t put = pwrite(fd, bytes.p, bytes.n, at);
        if (put < 0 && errno == EINTR)
            continue;
        if (put <= 0)
            return false;
        bytes = lt_span(bytes.p + put, bytes.n - (size_t)put);
        at += put;
    }
    return true;
}

static bool holds(int fd, const struct stat *st, struct lt_span bytes) {
    char piece[16384];
    if ((uint64_t)st->st_size != bytes.n)
        return false;
    for (size_t at = 0; at < bytes.n;) {
        size_t n = bytes.n - at < sizeof piece ? bytes.n - at : sizeof piece;
        if (!read_at(fd, piece, n, (off_t)at) || memcmp(piece, bytes.p + at, n) != 0)
            return false;
        at += n;
    }
    return true;
}

static enum file_result fill(const struct files_dir *dir, int fd, const struct stat *st, struct lt_span bytes) {
    if (st->st_uid != dir->owner && fchown(fd, dir->owner, dir->group) != 0)
        return FILE_FAILED;
    if (holds(fd, st, bytes))
        return futimens(fd, NULL) == 0 ? FILE_SAME : FILE_FAILED;
    return write_at(fd, bytes) && ftruncate(fd, (off_t)bytes.n) == 0 ? FILE_OK : FILE_FAILED;
}

enum file_result file_put(const struct files_dir *dir, const char *name, struct lt_span bytes) {
    struct stat st;
    int fd = openat(dir->fd, name, O_RDWR | O_CREAT | FLAGS, 0600);
    if (fd < 0)
        return FILE_FAILED;
    enum file_result r = lock(dir, fd, name, LOCK_EX, &st);
    return closed(fd, r == FILE_OK ? fill(dir, fd, &st, bytes) : r);
}

enum file_result file_remove(const struct files_dir *dir, const char *name) {
    struct stat st;
    int fd = openat(dir->fd, name, O_RDWR | FLAGS);
    if (fd < 0)
        return errno == ENOENT ? FILE_OK : FILE_FAILED;
    enum file_result r = lock(dir, fd, name, LOCK_EX, &st);
    if (r == FILE_OK && unlinkat(dir->fd, name, 0) != 0 && errno != ENOENT)
        r = FILE_FAILED;
    return closed(fd, r);
}

static enum file_result take(int fd, const struct stat *st, struct lt_buf *out) {
    size_t n = (size_t)st->st_size;
    if (n == 0)
        return FILE_OK;
    char *room = n > out->max ? NULL : lt_buf_reserve(out, n);
    if (!room)
        return FILE_LARGE;
    if (!read_at(fd, room, n, 0))
        return FILE_FAILED;
    lt_buf_grew(out, n);
    return FILE_OK;
}

enum file_result file_get(const struct files_dir *dir, const char *name, struct lt_buf *out) {
    struct stat st;
    int fd = openat(dir->fd, name, O_RDONLY | FLAGS);
    if (fd < 0)
        return errno == ENOENT ? FILE_MISSING : FILE_FAILED;
    enum file_result r = lock(dir, fd, name, LOCK_SH, &st);
    return closed(fd, r == FILE_OK ? take(fd, &st, out) : r);
}
