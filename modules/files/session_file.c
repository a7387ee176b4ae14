// SPDX-License-Identifier: Apache-2.0
#include "modules/files/session_file.h"

#include "crypto/token.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/syscall.h>
#include <sys/xattr.h>
#include <unistd.h>

// O_NONBLOCK: a fifo that somebody left there must not stop the worker.
enum { FLAGS = O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK };

static const char attribute[] = "user.lethe";

static enum file_result closed(int fd, enum file_result r) {
    int kept = errno;
    close(fd);
    errno = kept;
    return r;
}

// Never outside the directory, through no link (openat2, Linux 5.6). Where a container's filter does not know the call, O_NOFOLLOW alone guards
// the last part of the name.
static int open_below(const struct files_dir *dir, const char *name, int flags) {
    struct open_how how = {
        .flags = (unsigned)(flags | FLAGS),
        .mode = flags & O_CREAT ? 0600 : 0,
        .resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS,
    };
    int fd = (int)syscall(SYS_openat2, dir->fd, name, &how, sizeof how);
    if (fd >= 0 || (errno != ENOSYS && errno != EPERM))
        return fd;
    return openat(dir->fd, name, flags | FLAGS, 0600);
}

// The directories of a nested name, one after the other.
static bool make_parents(const struct files_dir *dir, const char *name) {
    char part[FILES_NAME_MAX];
    for (const char *slash = strchr(name, '/'); slash; slash = strchr(slash + 1, '/')) {
        snprintf(part, sizeof part, "%.*s", (int)(slash - name), name);
        if (mkdirat(dir->fd, part, 0700) == 0) {
            if (fchownat(dir->fd, part, dir->owner, dir->group, AT_SYMLINK_NOFOLLOW) != 0 && errno != EPERM)
                return false;
        } else if (errno != EEXIST) {
            return false;
        }
    }
    return true;
}

static enum file_result open_failed(const char **why) {
    if (errno == ELOOP || errno == EXDEV || errno == ENXIO) {
        *why = errno == ENXIO ? "it is a socket or a fifo" : "it is a symbolic link, or leads out of the directory";
        return FILE_REFUSED;
    }
    return errno == ENOENT ? FILE_MISSING : FILE_FAILED;
}

static enum file_result inspect(const struct files_dir *dir, int fd, struct stat *st, const char **why) {
    if (fstat(fd, st) != 0)
        return FILE_FAILED;
    if (!S_ISREG(st->st_mode))
        *why = "it is no regular file";
    else if (st->st_nlink > 1)
        *why = "it has more than one name";
    else if (st->st_uid != dir->owner && st->st_uid != geteuid() && st->st_uid != 0)
        *why = "it belongs to another user";
    else
        return FILE_OK;
    return FILE_REFUSED;
}

// --- is the application at work on it? ---

// The lock counts only if `name` is still this inode: the application may have removed and remade it meanwhile.
static enum file_result lock(const struct files_dir *dir, int fd, const char *name, int how) {
    struct stat held, named;
    if (flock(fd, how | LOCK_NB) != 0)
        return errno == EWOULDBLOCK ? FILE_BUSY : FILE_FAILED;
    if (fstat(fd, &held) != 0)
        return FILE_FAILED;
    if (fstatat(dir->fd, name, &named, AT_SYMLINK_NOFOLLOW) != 0 || named.st_ino != held.st_ino)
        return FILE_BUSY;
    return FILE_OK;
}

static enum file_result lock_beside(const struct files_dir *dir, const char *name) {
    char beside[FILES_NAME_MAX + 16];
    snprintf(beside, sizeof beside, "%s%s", name, dir->lock);
    int fd = open_below(dir, beside, O_RDONLY);
    if (fd < 0)
        return FILE_OK; // nobody has ever locked it
    int taken = flock(fd, LOCK_SH | LOCK_NB);
    return closed(fd, taken == 0 ? FILE_OK : errno == EWOULDBLOCK ? FILE_BUSY : FILE_FAILED);
}

// The kernel gives a read lease only while nobody has the file open for writing. Whoever opens it then waits for the moment until
// it is given back. (SIGIO, which tells of that, is ignored by the process.)
static enum file_result lease(int fd) {
    if (fcntl(fd, F_SETLEASE, F_RDLCK) == 0) {
        fcntl(fd, F_SETLEASE, F_UNLCK);
        return FILE_OK;
    }
    return errno == EAGAIN ? FILE_BUSY : FILE_OK; // a file system without leases
}

static enum file_result barrier(const struct files_dir *dir, int fd, const char *name) {
    switch (dir->barrier) {
    case BARRIER_FLOCK:
        return lock(dir, fd, name, LOCK_SH);
    case BARRIER_LOCK:
        return lock_beside(dir, name);
    case BARRIER_CLOSE:
        return lease(fd);
    default:
        return FILE_OK;
    }
}

// --- bytes ---

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

static enum file_result read_all(int fd, const struct stat *st, struct lt_buf *out) {
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

static struct file_mark mark_of(const struct stat *st) {
    return (struct file_mark){.inode = st->st_ino, .size = st->st_size, .written = st->st_mtim};
}

static uint64_t fence_of(int fd) {
    char text[24];
    unsigned long long fence;
    ssize_t n = fgetxattr(fd, attribute, text, sizeof text);
    return n > 0 && lt_span_to_u64(lt_span(text, (size_t)n), UINT64_MAX, &fence) ? fence : 0;
}

// Where the file system keeps no attributes, what a crash leaves behind is dropped instead of taken.
static void set_fence(int fd, uint64_t fence) {
    char text[24];
    int n = snprintf(text, sizeof text, "%llu", (unsigned long long)fence);
    if (fsetxattr(fd, attribute, text, (size_t)n, 0) != 0)
        errno = 0;
}

// --- place ---

static bool give_to_owner(const struct files_dir *dir, int fd, const struct stat *st) {
    return st->st_uid == dir->owner || fchown(fd, dir->owner, dir->group) == 0;
}

// The last step of every way: owner, fence, time; and the mark by which a later write is known.
static enum file_result settle(const struct files_dir *dir, int fd, const struct stat *st, uint64_t fence,
                               struct file_mark *mark, enum file_result r) {
    struct stat now;
    if (!give_to_owner(dir, fd, st) || futimens(fd, NULL) != 0)
        return FILE_FAILED;
    set_fence(fd, fence);
    if (fstat(fd, &now) != 0)
        return FILE_FAILED;
    *mark = mark_of(&now);
    return r;
}

static enum file_result newer(int fd, const struct stat *st, struct lt_buf *found) {
    enum file_result r = read_all(fd, st, found);
    return r == FILE_OK ? FILE_NEWER : r;
}

static enum file_result place_in(const struct files_dir *dir, int fd, const char *name, struct lt_span bytes,
                                 uint64_t fence, struct lt_buf *found, struct file_mark *mark, const char **why) {
    struct stat st;
    enum file_result r = inspect(dir, fd, &st, why);
    if (r == FILE_OK)
        r = lock(dir, fd, name, LOCK_EX);
    if (r != FILE_OK)
        return r;
    if (fstat(fd, &st) != 0) // as it is behind the lock
        return FILE_FAILED;
    if (holds(fd, &st, bytes))
        return settle(dir, fd, &st, fence, mark, FILE_SAME);
    if (fence_of(fd) == fence - 1 && st.st_size > 0) {
        r = newer(fd, &st, found);
        return r == FILE_NEWER ? settle(dir, fd, &st, fence, mark, r) : r;
    }
    if (!write_at(fd, bytes) || ftruncate(fd, (off_t)bytes.n) != 0)
        return FILE_FAILED;
    return settle(dir, fd, &st, fence, mark, FILE_OK);
}

static enum file_result place_in_place(const struct files_dir *dir, const char *name, struct lt_span bytes,
                                       uint64_t fence, struct lt_buf *found, struct file_mark *mark, const char **why) {
    int fd = open_below(dir, name, O_RDWR | O_CREAT);
    if (fd < 0 && errno == ENOENT && make_parents(dir, name))
        fd = open_below(dir, name, O_RDWR | O_CREAT);
    return fd < 0 ? open_failed(why) : closed(fd, place_in(dir, fd, name, bytes, fence, found, mark, why));
}

static enum file_result fill_and_rename(const struct files_dir *dir, int fd, const char *temporary, const char *name,
                                        struct lt_span bytes, uint64_t fence, struct file_mark *mark) {
    struct stat st;
    if (fstat(fd, &st) != 0 || !write_at(fd, bytes))
        return FILE_FAILED;
    enum file_result r = settle(dir, fd, &st, fence, mark, FILE_OK);
    return r == FILE_OK && renameat(dir->fd, temporary, dir->fd, name) == 0 ? FILE_OK : FILE_FAILED;
}

static enum file_result place_by_rename(const struct files_dir *dir, const char *name, struct lt_span bytes,
                                        uint64_t fence, struct file_mark *mark) {
    char temporary[FILES_NAME_MAX], suffix[17];
    uint8_t random[12];
    const char *slash = strrchr(name, '/');
    if (!make_parents(dir, name) || !lt_random(random, sizeof random))
        return FILE_FAILED;
    lt_base64url_encode(random, sizeof random, suffix);
    snprintf(temporary, sizeof temporary, "%.*s.lethe-%s", slash ? (int)(slash + 1 - name) : 0, name, suffix);
    int fd = open_below(dir, temporary, O_RDWR | O_CREAT | O_EXCL);
    if (fd < 0)
        return FILE_FAILED;
    enum file_result r = closed(fd, fill_and_rename(dir, fd, temporary, name, bytes, fence, mark));
    if (r != FILE_OK) {
        int kept = errno;
        unlinkat(dir->fd, temporary, 0);
        errno = kept;
    }
    return r;
}

// What is there already: FILE_MISSING when it is to be written over.
static enum file_result look(const struct files_dir *dir, int fd, const char *name, struct lt_span bytes,
                             uint64_t fence, struct lt_buf *found, struct file_mark *mark, const char **why) {
    struct stat st;
    enum file_result r = inspect(dir, fd, &st, why);
    if (r == FILE_OK)
        r = barrier(dir, fd, name);
    if (r != FILE_OK)
        return r;
    if (fstat(fd, &st) != 0)
        return FILE_FAILED;
    if (holds(fd, &st, bytes))
        return settle(dir, fd, &st, fence, mark, FILE_SAME);
    if (fence_of(fd) != fence - 1 || st.st_size == 0)
        return FILE_MISSING;
    r = newer(fd, &st, found);
    return r == FILE_NEWER ? settle(dir, fd, &st, fence, mark, r) : r;
}

enum file_result file_place(const struct files_dir *dir, const char *name, struct lt_span bytes, uint64_t fence,
                            struct lt_buf *found, struct file_mark *mark, const char **why) {
    if (dir->barrier == BARRIER_FLOCK)
        return place_in_place(dir, name, bytes, fence, found, mark, why);
    int fd = open_below(dir, name, O_RDONLY);
    enum file_result r = fd < 0 ? open_failed(why) : closed(fd, look(dir, fd, name, bytes, fence, found, mark, why));
    return r == FILE_MISSING ? place_by_rename(dir, name, bytes, fence, mark) : r;
}

// --- the others ---

enum file_result file_remove(const struct files_dir *dir, const char *name, const char **why) {
    struct stat st;
    int fd = open_below(dir, name, O_RDONLY);
    if (fd < 0) {
        enum file_result r = open_failed(why);
        return r == FILE_MISSING ? FILE_OK : r;
    }
    enum file_result r = inspect(dir, fd, &st, why);
    if (r == FILE_OK)
        r = dir->barrier == BARRIER_FLOCK ? lock(dir, fd, name, LOCK_EX) : barrier(dir, fd, name);
    if (r == FILE_OK && unlinkat(dir->fd, name, 0) != 0 && errno != ENOENT)
        r = FILE_FAILED;
    return closed(fd, r);
}

enum file_result file_take(const struct files_dir *dir, const char *name, struct lt_buf *out, struct file_mark *mark,
                           const char **why) {
    struct stat st;
    int fd = open_below(dir, name, O_RDONLY);
    if (fd < 0)
        return open_failed(why);
    enum file_result r = inspect(dir, fd, &st, why);
    if (r == FILE_OK)
        r = barrier(dir, fd, name);
    if (r == FILE_OK && fstat(fd, &st) != 0) // as it is behind the barrier
        r = FILE_FAILED;
    if (r == FILE_OK)
        r = read_all(fd, &st, out);
    *mark = mark_of(&st);
    return closed(fd, r);
}

bool file_look(const struct files_dir *dir, const char *name, struct file_mark *mark) {
    struct stat st;
    if (fstatat(dir->fd, name, &st, AT_SYMLINK_NOFOLLOW) != 0)
        return false;
    *mark = mark_of(&st);
    return true;
}

void file_disown(const struct files_dir *dir, const char *name) {
    int fd = open_below(dir, name, O_RDONLY);
    if (fd < 0)
        return;
    if (fremovexattr(fd, attribute) != 0)
        errno = 0;
    close(fd);
}

uint64_t file_fence(const struct files_dir *dir, const char *name) {
    int fd = open_below(dir, name, O_RDONLY);
    uint64_t fence = fd < 0 ? 0 : fence_of(fd);
    if (fd >= 0)
        close(fd);
    return fence;
}
