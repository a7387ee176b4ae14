// SPDX-License-Identifier: Apache-2.0
#include "control.h"

#include "admin_client.h"

#include <pthread.h>
#include <stdio.h>
#include <sys/eventfd.h>
#include <unistd.h>

// An upgrade starts a process, and gives it PATIENCE in process.c.
enum { CONTROL_MS = 90000 };

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

int lt_control_command(enum lt_ask what, struct lt_span address) {
    struct lt_buf buf;
    struct lt_admin_answer answer;
    char request[32];
    snprintf(request, sizeof request, "POST /%s", lt_ask_names[what]);
    lt_buf_init(&buf, 4 * LT_CONTROL_TEXT);
    const char *why = lt_admin_ask(address, request, CONTROL_MS, &buf, &answer);
    if (why)
        lt_admin_no_answer(lt_ask_names[what], address, why);
    else
        fwrite(answer.body.p, 1, answer.body.n, answer.status == 200 ? stdout : stderr);
    lt_buf_fini(&buf);
    return why ? 2 : answer.status == 200 ? 0 : 1;
}
