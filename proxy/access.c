// SPDX-License-Identifier: Apache-2.0
// What is told of an exchange when it is over: counters, the latency, one line of the access log.
#include "exchange.h"

#include "base/clock.h"

enum { LINE_MAX_BYTES = 4096 };

static const char *const outcomes[] = {"ok", "local", "rejected", "upstream_failed", "store_failed", "aborted"};

static void log_line(struct lt_exchange *x, int64_t ms) {
    char line[LINE_MAX_BYTES], client[LT_ADDRESS_TEXT] = "-";
    struct lt_worker *w = x->worker;
    size_t question = lt_span_find(x->request.path, '?');
    struct lt_field fields[] = {
        lt_f("id", x->id),
        lt_fs("client", x->client ? lt_address_host(&x->client->peer, client) : "-"),
        lt_f("method", x->request.method_text),
        lt_f("path", lt_span(x->request.path.p, question)),
        lt_fn("status", x->status),
        lt_fn("bytes", (int64_t)x->bytes),
        lt_fn("ms", ms),
        lt_fn("upstream_ms", x->first_byte && x->sent_at ? x->first_byte - x->sent_at : -1),
        lt_fs("outcome", outcomes[x->outcome]),
        lt_fs("reason", x->reason),
    };
    size_t n = sizeof fields / sizeof *fields - (x->reason ? 0 : 1);
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
    if (x->generation->snapshot->core.log->access && !x->worker->admin)
        log_line(x, ms);
}
