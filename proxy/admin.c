// SPDX-License-Identifier: Apache-2.0
#include "admin.h"

#include "base/lost.h"
#include "doctor.h"
#include "feed.h"
#include "page.h"
#include "process.h"

#include <stdio.h>

enum { TEXT_MAX = 4 << 20, EVENT_MS = 1000, LOOK_MS = 10 };

struct admin_call {
    uint64_t seen; // of the feed
    enum lt_ask what;
    unsigned ticket;
};

static bool never(const void *conf) {
    (void)conf;
    return false; // not on the main listeners
}

static bool print_core(struct lt_buf *out, struct lt_worker *workers, unsigned n) {
    struct lt_metrics *all[256];
    for (unsigned i = 0; i < n; i++)
        all[i] = &workers[i].core_metrics;
    return lt_metrics_print(out, all, n);
}

static bool print_modules(struct lt_buf *out, struct lt_worker *workers, unsigned n) {
    struct lt_metrics *all[256 + 8];
    unsigned n_sides;
    struct lt_worker *sides = lt_process_sides(&n_sides);
    for (unsigned m = 0; m < workers[0].n_modules; m++) {
        for (unsigned i = 0; i < n; i++)
            all[i] = &workers[i].module_metrics[m];
        for (unsigned i = 0; i < n_sides; i++)
            all[n + i] = &sides[i].module_metrics[m];
        if (!lt_metrics_print(out, all, n + n_sides))
            return false;
    }
    return true;
}

// The answer that `out` holds, which is freed.
static enum lt_verdict reply(struct lt_call *c, bool ok, const char *type, struct lt_buf *out) {
    enum lt_verdict v = ok ? lt_call_reply(c, 200, type, lt_buf_span(out)) : lt_call_fail(c, 503, "memory");
    lt_buf_fini(out);
    return v;
}

static enum lt_verdict metrics(struct lt_call *c) {
    unsigned n;
    struct lt_worker *workers = lt_process_workers(&n);
    struct lt_buf out;
    lt_buf_init(&out, TEXT_MAX);
    bool ok = print_core(&out, workers, n) && print_modules(&out, workers, n) && lt_lost_print(&out);
    return reply(c, ok, "text/plain; version=0.0.4; charset=utf-8", &out);
}

static enum lt_verdict doctor(struct lt_call *c) {
    struct lt_buf out;
    unsigned findings;
    lt_buf_init(&out, TEXT_MAX);
    bool ok = lt_doctor_report(&out, &findings);
    struct lt_span number = lt_arena_printf(lt_call_arena(c), "%u", findings);
    lt_call_reply_field(c, LT_S("Lethe-Findings"), number.p ? number : LT_S(""));
    return reply(c, ok, NULL, &out);
}

static void no_sniffing(struct lt_call *c) {
    lt_call_reply_field(c, LT_S("X-Content-Type-Options"), LT_S("nosniff"));
}

static enum lt_verdict page(struct lt_call *c) {
    struct lt_span policy = lt_page_policy();
    if (policy.n == 0)
        return lt_call_fail(c, 503, "page");
    no_sniffing(c);
    lt_call_reply_field(c, LT_S("Content-Security-Policy"), policy);
    lt_call_reply_field(c, LT_S("Referrer-Policy"), LT_S("no-referrer"));
    return lt_call_reply(c, 200, "text/html; charset=utf-8", lt_page());
}

static enum lt_verdict report(struct lt_call *c) {
    struct lt_buf out;
    lt_buf_init(&out, TEXT_MAX);
    no_sniffing(c);
    return reply(c, lt_feed_report(&out), "application/json", &out);
}

static bool next_event(struct lt_call *c, struct lt_buf *out) {
    struct admin_call *st = c->state;
    return lt_feed_event(out, &st->seen);
}

static enum lt_verdict events(struct lt_call *c) {
    no_sniffing(c);
    return lt_call_reply_events(c, EVENT_MS, next_event);
}

// --- what changes something ---

static enum lt_verdict say(struct lt_call *c, int status, const char *text) {
    struct lt_span line = lt_arena_printf(lt_call_arena(c), "%s\n", text);
    return line.p ? lt_call_reply(c, status, "text/plain; charset=utf-8", line) : lt_call_fail(c, 503, "memory");
}

static enum lt_verdict look(struct lt_call *c) {
    struct admin_call *st = c->state;
    char text[LT_CONTROL_TEXT];
    enum lt_answer answer = lt_control_answer(st->ticket, text);
    if (answer == LT_ANSWER_DONE && st->what == LT_ASK_RELOAD) {
        answer = lt_process_reloaded();
        if (answer == LT_ANSWER_FAILED)
            snprintf(text, sizeof text, "some part of it could not start, which keeps what it had; the log says why");
    }
    if (answer == LT_ANSWER_WAITS)
        return lt_call_sleep(c, LOOK_MS, look);
    return say(c, answer == LT_ANSWER_DONE ? 200 : 409, text);
}

// A page of some other site that a browser on this machine shows may send a POST here as well; browsers then say whose page it is.
static enum lt_verdict control(struct lt_call *c, enum lt_ask what) {
    struct admin_call *st = c->state;
    const struct lt_h1_head *request = lt_call_request(c);
    if (request->method != LT_METHOD_POST) {
        lt_call_reply_field(c, LT_S("Allow"), LT_S("POST"));
        return say(c, 405, "write POST");
    }
    if (!lt_call_peer_is_local(c))
        return say(c, 403, "only from this machine: by the loopback address or a unix socket");
    if (lt_headers_find(&request->headers, LT_S("Origin")))
        return say(c, 403, "not from a page in a browser; write \"lethe reload\", or POST without an Origin");
    st->what = what;
    st->ticket = lt_control_ask(what);
    return st->ticket ? look(c) : say(c, 409, "another command is under way; try again");
}

static const struct {
    struct lt_span path;
    lt_hook_fn *answer;
} pages[] = {
    {{"/", 1}, page},         {{"/metrics", 8}, metrics}, {{"/doctor", 7}, doctor},
    {{"/report", 7}, report}, {{"/events", 7}, events},
};

static enum lt_verdict on_request(struct lt_call *c) {
    const struct lt_h1_head *request = lt_call_request(c);
    struct lt_span path = lt_span(request->path.p, lt_span_find(request->path, '?'));
    for (unsigned i = 0; i < LT_ASKS && path.n; i++)
        if (lt_span_eq(lt_span(path.p + 1, path.n - 1), lt_span_cstr(lt_ask_names[i])))
            return control(c, (enum lt_ask)i);
    for (unsigned i = 0; i < sizeof pages / sizeof *pages; i++) {
        if (!lt_span_eq(path, pages[i].path))
            continue;
        if (request->method != LT_METHOD_GET && request->method != LT_METHOD_HEAD)
            return lt_call_reply(c, 405, NULL, LT_S("write GET\n"));
        return pages[i].answer(c);
    }
    return LT_NEXT;
}

const struct lt_module lt_module_admin = {
    .name = "admin",
    .summary = "answers the page, /report, /events, /metrics and /doctor on the admin listener, and POST to /reload, "
               "/drain, /quit and /upgrade",
    .phase = LT_PHASE_GATE,
    .state_size = sizeof(struct admin_call),
    .enabled = never,
    .on_admin = true,
    .on_request = on_request,
};
