// SPDX-License-Identifier: Apache-2.0
#include "control.h"

#include "base/buf.h"
#include "net/address.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <sys/eventfd.h>
#include <sys/time.h>
#include <unistd.h>

// An upgrade starts a process, and gives it PATIENCE in process.c.
enum { CONTROL_SECONDS = 90 };

const char *const lt_ask_names[LT_ASKS + 1] = {"reload", "drain", "quit", "upgrade", NULL};

// --- between the admin thread and the main thread ---

static struct {
    pthread_mutex_t lock;
    int fd; // eventfd
    enum { FREE, ASKED, TAKEN, ANSWERED } state;
    enum lt_ask what;
    unsigned ticket; // of the last question
    bool ok;
    char text[LT_CONTROL_TEXT];
} control = {.lock = PTHREAD_MUTEX_INITIALIZER, .fd = -1};

bool lt_control_init(void) {
    control.fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    return control.fd >= 0;
}

void lt_control_fini(void) {
    if (control.fd >= 0)
        close(control.fd);
    control.fd = -1;
}

unsigned lt_control_ask(enum lt_ask what) {
    uint64_t one = 1;
    unsigned ticket = 0;
    pthread_mutex_lock(&control.lock);
    if ((control.state == FREE || control.state == ANSWERED) && write(control.fd, &one, sizeof one) == sizeof one) {
        control.what = what;
        control.state = ASKED;
        ticket = ++control.ticket ? control.ticket : ++control.ticket;
    }
    pthread_mutex_unlock(&control.lock);
    return ticket;
}

enum lt_answer lt_control_answer(unsigned ticket, char text[LT_CONTROL_TEXT]) {
    enum lt_answer answer = LT_ANSWER_WAITS;
    pthread_mutex_lock(&control.lock);
    if (ticket != control.ticket) { // nobody looked for so long that another question came
        snprintf(text, LT_CONTROL_TEXT, "not known any more; see the log");
        answer = LT_ANSWER_FAILED;
    } else if (control.state == ANSWERED) {
        snprintf(text, LT_CONTROL_TEXT, "%s", control.text);
        answer = control.ok ? LT_ANSWER_DONE : LT_ANSWER_FAILED;
    }
    pthread_mutex_unlock(&control.lock);
    return answer;
}

int lt_control_fd(void) {
    return control.fd;
}

bool lt_control_next(enum lt_ask *what) {
    uint64_t count;
    pthread_mutex_lock(&control.lock);
    bool any = read(control.fd, &count, sizeof count) == sizeof count && control.state == ASKED;
    if (any) {
        *what = control.what;
        control.state = TAKEN;
    }
    pthread_mutex_unlock(&control.lock);
    return any;
}

void lt_control_settle(bool ok, const char *text) {
    pthread_mutex_lock(&control.lock);
    if (control.state == TAKEN) {
        control.ok = ok;
        snprintf(control.text, sizeof control.text, "%s", text);
        control.state = ANSWERED;
    }
    pthread_mutex_unlock(&control.lock);
}

// --- the command ---

static int fail(enum lt_ask what, struct lt_span address, const char *why) {
    fprintf(stderr, "lethe: %s: %.*s: %s; write \"--admin host:port\" of a running lethe that has the option \"admin\"\n",
            lt_ask_names[what], (int)address.n, address.p, why);
    return 2;
}

static bool fetch(enum lt_ask what, const struct lt_address *a, struct lt_buf *answer) {
    struct timeval limit = {.tv_sec = CONTROL_SECONDS};
    int fd = socket(a->u.sa.sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    char ask[96];
    int size =
        snprintf(ask, sizeof ask, "POST /%s HTTP/1.0\r\nHost: lethe\r\nContent-Length: 0\r\n\r\n", lt_ask_names[what]);
    if (fd < 0)
        return false;
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    bool ok = connect(fd, &a->u.sa, a->size) == 0 && send(fd, ask, (size_t)size, MSG_NOSIGNAL) == size;
    while (ok) {
        char *room = lt_buf_reserve(answer, LT_CONTROL_TEXT);
        ssize_t n = room ? recv(fd, room, LT_CONTROL_TEXT, 0) : -1;
        ok = n >= 0;
        if (n <= 0)
            break;
        lt_buf_grew(answer, (size_t)n);
    }
    int error = errno;
    close(fd);
    errno = error;
    return ok;
}

static int print(enum lt_ask what, struct lt_span address, struct lt_span answer) {
    const char *body = answer.p ? memmem(answer.p, answer.n, "\r\n\r\n", 4) : NULL;
    if (!body || !lt_span_starts(answer, LT_S("HTTP/1.1 ")))
        return fail(what, address, "the answer is not lethe's");
    bool ok = lt_span_starts(answer, LT_S("HTTP/1.1 200"));
    size_t head = (size_t)(body - answer.p) + 4;
    fwrite(answer.p + head, 1, answer.n - head, ok ? stdout : stderr);
    return ok ? 0 : 1;
}

int lt_control_command(enum lt_ask what, struct lt_span address) {
    struct lt_address a;
    struct lt_buf answer;
    if (!lt_address_parse(address, &a))
        return fail(what, address, address.n ? "no address of this machine" : "the option \"admin\" is empty");
    lt_buf_init(&answer, 1 << 20);
    int code =
        fetch(what, &a, &answer) ? print(what, address, lt_buf_span(&answer)) : fail(what, address, strerror(errno));
    lt_buf_fini(&answer);
    return code;
}
