// SPDX-License-Identifier: Apache-2.0
// An application with sessions, for measurements on the loopback interface: what a framework does for its sessions, and nothing else.
// A blocking thread a connection. It is no web server: it trusts what it reads.
//
//   app memory           keeps sessions in this process
//   app flock DIR        a file each, read and rewritten in place under flock, as PHP does it
//   app rename DIR       a file each, written beside and renamed into place, as Django and Tomcat do it
//   app api unix:PATH    lethe's state API: GET and PUT on a kept connection, as the adapters do it
//
// It listens on 127.0.0.1, prints the port on stdout, and answers "<id> <n> <size>":
//
//   GET /new/<size>      begins a session of that many bytes: Set-Cookie: sid=<id>
//   GET /read            reads the whole session
//   GET /change          reads it, adds 1 to n, and writes the whole of it
//
// A session is text: a stamp of id and n, a fill that is the same for all, and the stamp again. Each request compares all of it: 403
// without a session, 500 when it is torn, short or another's.
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <unistd.h>

enum { SIZE_MAX_ = 2 << 20, ID = 32, STAMP = ID + 1 + 12 + 1, HEAD = 4096, SESSIONS = 4096, PATH = 512 };

// One connection of a client: its request, and the session that it works on.
struct work {
    int client, api; // api: the kept connection, -1 without
    int file;        // flock: open and locked while the request runs, -1 otherwise
    char in[HEAD];
    size_t in_n;
    char id[ID + 1];
    size_t size; // of the session; 0: there is none
    char bytes[SIZE_MAX_];
};

struct carrier {
    const char *name;
    bool (*load)(struct work *w); // into bytes and size; false: it cannot be said
    bool (*save)(struct work *w);
    void (*done)(struct work *w);
};

static const struct carrier *carrier;
static const char *where;
static char fill[SIZE_MAX_];

static void die(const char *what) {
    perror(what);
    exit(1);
}

static bool send_all(int fd, struct iovec *v, int n) {
    while (n) {
        ssize_t sent = writev(fd, v, n);
        if (sent < 0 && errno == EINTR)
            continue;
        if (sent <= 0)
            return false;
        for (; n && (size_t)sent >= v->iov_len; v++, n--)
            sent -= (ssize_t)v->iov_len;
        if (n)
            *v = (struct iovec){(char *)v->iov_base + sent, v->iov_len - (size_t)sent};
    }
    return true;
}

// --- in this process ---

static struct kept {
    char id[ID + 1];
    char *bytes;
    size_t size;
} kept[SESSIONS];
static unsigned n_kept;
static pthread_mutex_t kept_lock = PTHREAD_MUTEX_INITIALIZER;

static struct kept *kept_of(const char *id) {
    for (unsigned i = n_kept; i > 0; i--)
        if (strcmp(kept[i - 1].id, id) == 0)
            return &kept[i - 1];
    return NULL;
}

static bool load_memory(struct work *w) {
    pthread_mutex_lock(&kept_lock);
    struct kept *k = kept_of(w->id);
    w->size = k ? k->size : 0;
    if (k)
        memcpy(w->bytes, k->bytes, k->size);
    pthread_mutex_unlock(&kept_lock);
    return true;
}

static bool save_memory(struct work *w) {
    pthread_mutex_lock(&kept_lock);
    struct kept *k = kept_of(w->id);
    if (!k && n_kept < SESSIONS) {
        k = &kept[n_kept++];
        memcpy(k->id, w->id, sizeof k->id);
        k->size = w->size;
        k->bytes = malloc(w->size);
    }
    bool ok = k && k->bytes && k->size == w->size;
    if (ok)
        memcpy(k->bytes, w->bytes, w->size);
    pthread_mutex_unlock(&kept_lock);
    return ok;
}

static void done_nothing(struct work *w) {
    (void)w;
}

// --- in files ---

static bool read_file(struct work *w, int fd) {
    struct stat st;
    if (fstat(fd, &st) != 0 || st.st_size > SIZE_MAX_)
        return false;
    w->size = (size_t)st.st_size;
    return pread(fd, w->bytes, w->size, 0) == (ssize_t)w->size;
}

static void path_of(const struct work *w, const char *suffix, char out[PATH]) {
    snprintf(out, PATH, "%s/sess_%s%s", where, w->id, suffix);
}

static bool load_flock(struct work *w) {
    char path[PATH];
    path_of(w, "", path);
    w->size = 0;
    w->file = open(path, O_CREAT | O_RDWR | O_NOFOLLOW | O_CLOEXEC, 0600);
    return w->file >= 0 && flock(w->file, LOCK_EX) == 0 && read_file(w, w->file);
}

static bool save_flock(struct work *w) {
    return pwrite(w->file, w->bytes, w->size, 0) == (ssize_t)w->size && ftruncate(w->file, (off_t)w->size) == 0;
}

static void done_flock(struct work *w) {
    if (w->file >= 0)
        close(w->file);
    w->file = -1;
}

static bool load_rename(struct work *w) {
    char path[PATH];
    path_of(w, "", path);
    w->size = 0;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return errno == ENOENT;
    bool ok = read_file(w, fd);
    close(fd);
    return ok;
}

static bool save_rename(struct work *w) {
    char path[PATH], beside[PATH];
    path_of(w, "", path);
    path_of(w, ".new", beside);
    int fd = open(beside, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0)
        return false;
    bool ok = write(fd, w->bytes, w->size) == (ssize_t)w->size;
    return close(fd) == 0 && ok && rename(beside, path) == 0;
}

// --- at lethe ---

static bool api_connect(struct work *w) {
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    if (w->api >= 0)
        close(w->api);
    snprintf(a.sun_path, sizeof a.sun_path, "%s", where + strlen("unix:"));
    w->api = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    return w->api >= 0 && connect(w->api, (struct sockaddr *)&a, sizeof a) == 0;
}

// The answer's status, its body in bytes; -1: no whole answer came, 0: nothing came at all.
static int api_answer(struct work *w) {
    char head[HEAD];
    size_t n = 0;
    char *end = NULL;
    while (!end) {
        ssize_t got = n < sizeof head - 1 ? recv(w->api, head + n, sizeof head - 1 - n, 0) : -1;
        if (got <= 0)
            return n ? -1 : 0;
        n += (size_t)got;
        head[n] = '\0';
        end = memmem(head, n, "\r\n\r\n", 4);
    }
    const char *length = strcasestr(head, "\r\ncontent-length:");
    size_t body = length && length < end ? strtoul(length + 17, NULL, 10) : 0, have = n - (size_t)(end + 4 - head);
    if (body > SIZE_MAX_ || have > body)
        return -1;
    memcpy(w->bytes, end + 4, have);
    w->size = body;
    bool whole = have == body || recv(w->api, w->bytes + have, body - have, MSG_WAITALL) == (ssize_t)(body - have);
    return whole ? atoi(head + 9) : -1;
}

// A kept connection may have been closed meanwhile: once more on a new one.
static int api_call(struct work *w, const char *method, size_t body) {
    char head[PATH];
    int n = snprintf(head, sizeof head, "%s /v1/sessions/%s HTTP/1.1\r\nHost: lethe\r\nContent-Length: %zu\r\n\r\n",
                     method, w->id, body);
    for (int attempt = 0; attempt < 2; attempt++) {
        struct iovec v[2] = {{head, (size_t)n}, {w->bytes, body}};
        if ((w->api < 0 || attempt) && !api_connect(w))
            return -1;
        int status = send_all(w->api, v, body ? 2 : 1) ? api_answer(w) : 0;
        if (status)
            return status;
    }
    return -1;
}

static bool load_api(struct work *w) {
    int status = api_call(w, "GET", 0);
    if (status == 404)
        w->size = 0;
    return status == 200 || status == 404;
}

static bool save_api(struct work *w) {
    size_t size = w->size;
    int status = api_call(w, "PUT", size);
    w->size = size;
    return status == 204;
}

// --- the session ---

static void stamp(struct work *w, unsigned long long n) {
    char text[STAMP + 1];
    snprintf(text, sizeof text, "%s %012llu ", w->id, n);
    memcpy(w->bytes, text, STAMP);
    memcpy(w->bytes + w->size - STAMP, text, STAMP);
}

static bool is_whole(const struct work *w, unsigned long long *n) {
    if (w->size < 2 * STAMP || memcmp(w->bytes, w->id, ID) != 0 ||
        memcmp(w->bytes, w->bytes + w->size - STAMP, STAMP) != 0)
        return false;
    *n = strtoull(w->bytes + ID + 1, NULL, 10);
    return memcmp(w->bytes + STAMP, fill, w->size - 2 * STAMP) == 0;
}

static bool begin_session(struct work *w, size_t size) {
    unsigned char random[ID];
    if (size < 2 * STAMP || size > SIZE_MAX_ || getrandom(random, sizeof random, 0) != sizeof random)
        return false;
    for (size_t i = 0; i < ID; i++)
        w->id[i] = "abcdefghijklmnopqrstuvwxyz012345"[random[i] & 31];
    w->id[ID] = '\0';
    bool ok = carrier->load(w) && w->size == 0; // flock: this opens the file
    w->size = size;
    memcpy(w->bytes + STAMP, fill, size - 2 * STAMP);
    stamp(w, 0);
    return ok && carrier->save(w);
}

// The status; *n: of the session.
static int work_on(struct work *w, bool change, unsigned long long *n) {
    if (!carrier->load(w))
        return 500;
    if (w->size == 0)
        return 403;
    if (!is_whole(w, n))
        return 500;
    if (!change)
        return 200;
    stamp(w, ++*n);
    return carrier->save(w) ? 200 : 500;
}

// --- the connection ---

static bool find_id(struct work *w, size_t head_n) {
    const char *id = memmem(w->in, head_n, "sid=", 4);
    bool ok = id && (size_t)(w->in + head_n - id) >= 4 + ID && strspn(id + 4, "abcdefghijklmnopqrstuvwxyz012345") == ID;
    memcpy(w->id, ok ? id + 4 : w->in, ID);
    w->id[ID] = '\0';
    return ok;
}

static bool answer(struct work *w, size_t head_n) {
    unsigned long long n = 0;
    char body[128], cookie[128] = "", out[512];
    int status = 403;
    if (strncmp(w->in, "GET /new/", 9) == 0) {
        status = begin_session(w, strtoul(w->in + 9, NULL, 10)) ? 200 : 500;
        snprintf(cookie, sizeof cookie, "Set-Cookie: sid=%s; Path=/; HttpOnly\r\n", w->id);
    } else if (find_id(w, head_n)) {
        status = work_on(w, strncmp(w->in, "GET /change ", 12) == 0, &n);
    }
    carrier->done(w);
    int length = snprintf(body, sizeof body, "%s %llu %zu\n", w->id, n, w->size);
    int all = snprintf(out, sizeof out, "HTTP/1.1 %d -\r\nContent-Type: text/plain\r\n%sContent-Length: %d\r\n\r\n%s",
                       status, status == 200 ? cookie : "", length, body);
    struct iovec v = {out, (size_t)all};
    return send_all(w->client, &v, 1);
}

static bool serve_one(struct work *w) {
    char *end;
    while (!(end = memmem(w->in, w->in_n, "\r\n\r\n", 4))) {
        ssize_t got = w->in_n < HEAD ? recv(w->client, w->in + w->in_n, HEAD - w->in_n, 0) : -1;
        if (got <= 0)
            return false;
        w->in_n += (size_t)got;
    }
    size_t head_n = (size_t)(end + 4 - w->in);
    bool ok = answer(w, head_n);
    memmove(w->in, w->in + head_n, w->in_n - head_n);
    w->in_n -= head_n;
    return ok;
}

static void *serve(void *work) {
    struct work *w = work;
    while (serve_one(w))
        ;
    close(w->client);
    if (w->api >= 0)
        close(w->api);
    free(w);
    return NULL;
}

static int listen_anywhere(void) {
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t n = sizeof a;
    if (fd < 0 || bind(fd, (struct sockaddr *)&a, n) < 0 || listen(fd, 4096) < 0)
        die("app: listen");
    getsockname(fd, (struct sockaddr *)&a, &n);
    printf("%u\n", ntohs(a.sin_port));
    fflush(stdout);
    return fd;
}

static void accept_one(int listener) {
    pthread_t thread;
    struct work *w = malloc(sizeof *w);
    if (!w)
        die("app: memory");
    w->api = w->file = -1;
    w->in_n = 0;
    w->client = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
    setsockopt(w->client, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int));
    if (w->client < 0 || pthread_create(&thread, NULL, serve, w) != 0)
        die("app: accept");
    pthread_detach(thread);
}

int main(int argc, char **argv) {
    static const struct carrier carriers[] = {
        {"memory", load_memory, save_memory, done_nothing},
        {"flock", load_flock, save_flock, done_flock},
        {"rename", load_rename, save_rename, done_nothing},
        {"api", load_api, save_api, done_nothing},
    };
    for (unsigned i = 0; argc > 1 && i < sizeof carriers / sizeof *carriers; i++)
        if (strcmp(argv[1], carriers[i].name) == 0)
            carrier = &carriers[i];
    if (!carrier || argc != (carrier->load == load_memory ? 2 : 3)) {
        fprintf(stderr, "usage: app memory | app flock DIR | app rename DIR | app api unix:PATH\n");
        return 2;
    }
    where = argv[2];
    signal(SIGPIPE, SIG_IGN);
    unsigned x = 1;
    for (size_t i = 0; i < sizeof fill; i++) {
        x = x * 1664525u + 1013904223u;
        fill[i] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"[x >> 26];
    }
    for (int listener = listen_anywhere();;)
        accept_one(listener);
}
