// SPDX-License-Identifier: Apache-2.0
// What is told of an exchange when it is over: counters, the latency, one line of the access log.
#include "exchange.h"

#include "base/clock.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

enum { LINE_MAX_BYTES = 4096, FIELDS = 9 };

// Standard output in a way that cannot stop a worker when nobody reads: a pipe through a description of our own, since the one that
// we were given is shared with whoever started us; a socket by a flag. A file does not block.
static int out_fd = STDOUT_FILENO;
static bool out_is_socket;

void lt_access_open(void) {
    struct stat st;
    if (fstat(STDOUT_FILENO, &st) != 0)
        return;
    out_is_socket = S_ISSOCK(st.st_mode);
    int fd = S_ISFIFO(st.st_mode) ? open("/proc/self/fd/1", O_WRONLY | O_NONBLOCK | O_CLOEXEC) : -1;
    if (fd >= 0)
        out_fd = fd;
}

void lt_access_close(void) {
    if (out_fd != STDOUT_FILENO)
        close(out_fd);
    out_fd = STDOUT_FILENO;
}

// What the reader does not take now waits in the buffer; when that is full, lines are lost, and requests are not.
void lt_access_flush(struct lt_task *t) {
    struct lt_worker *w = LT_ENTRY(t, struct lt_worker, access_flush);
    while (w->access.len) {
        struct lt_span lines = lt_buf_span(&w->access);
        ssize_t n = out_is_socket ? send(out_fd, lines.p, lines.n, MSG_DONTWAIT | MSG_NOSIGNAL)
                                  : write(out_fd, lines.p, lines.n);
        if (n > 0)
            lt_buf_consume(&w->access, (size_t)n);
        else if (n == 0 || errno != EINTR)
            break;
    }
}

static const char *const outcomes[] = {"ok", "local", "rejected", "upstream_failed", "store_failed", "aborted"};

static void log_line(struct lt_exchange *x, int64_t ms) {
    char line[LINE_MAX_BYTES], client[LT_ADDRESS_TEXT];
    struct lt_worker *w = x->worker;
    size_t question = lt_span_find(x->request.path, '?');
    struct lt_field fields[FIELDS + 2] = {
        lt_f("id", x->id),
        lt_f("client", lt_ip_text(&x->peer, client)),
        lt_f("method", x->request.method_text),
        lt_f("path", lt_span(x->request.path.p, question)),
        lt_fn("status", x->status),
        lt_fn("bytes", (int64_t)x->bytes),
        lt_fn("ms", ms),
        lt_fn("upstream_ms", x->first_byte && x->sent_at ? x->first_byte - x->sent_at : -1),
        lt_fs("outcome", outcomes[x->outcome]),
    };
    size_t n = FIELDS;
    if (x->reason)
        fields[n++] = lt_fs("reason", x->reason);
    if (x->trace[0])
        fields[n++] = lt_fs("trace", x->trace);
    size_t len = lt_log_line(line, sizeof line, LT_LOG_INFO, "access", fields, n);
    if (lt_buf_append(&w->access, lt_span(line, len)))
        lt_loop_defer(&w->loop, &w->access_flush);
}

void lt_access_record(struct lt_exchange *x) {
    if (!x->request.method_text.n && !x->replied)
        return; // the client left before it had said anything
    int64_t ms = lt_clock_mono() - x->began;
    if (x->state == LT_X_DONE && x->outcome == LT_OUTCOME_OK && x->replied && x->status >= 500)
        x->outcome = LT_OUTCOME_UPSTREAM_FAILED;
    lt_worker_count(x->worker, LT_M_OK + (unsigned)x->outcome, 1);
    lt_metric_observe(&x->worker->core_metrics, LT_M_REQUEST_SECONDS, (uint64_t)ms * 1000);
    if (x->reason && (x->outcome == LT_OUTCOME_UPSTREAM_FAILED || x->outcome == LT_OUTCOME_STORE_FAILED))
        lt_log_note("request_failed", x->reason, x->id);
    if (x->generation->snapshot->core.log->access && x->worker->role == LT_ROLE_PROXY)
        log_line(x, ms);
}
