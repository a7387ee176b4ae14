// SPDX-License-Identifier: Apache-2.0
#include "admin.h"

#include "base/lost.h"
#include "doctor.h"
#include "process.h"

enum { TEXT_MAX = 4 << 20 };

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

static enum lt_verdict metrics(struct lt_call *c) {
    unsigned n;
    struct lt_worker *workers = lt_process_workers(&n);
    struct lt_buf out;
    lt_buf_init(&out, TEXT_MAX);
    bool ok = print_core(&out, workers, n) && print_modules(&out, workers, n) && lt_lost_print(&out);
    enum lt_verdict v = ok ? lt_call_reply(c, 200, "text/plain; version=0.0.4; charset=utf-8", lt_buf_span(&out))
                           : lt_call_fail(c, 503, "memory");
    lt_buf_fini(&out);
    return v;
}

static enum lt_verdict doctor(struct lt_call *c) {
    struct lt_buf out;
    unsigned findings;
    lt_buf_init(&out, TEXT_MAX);
    bool ok = lt_doctor_report(&out, &findings);
    struct lt_span number = lt_arena_printf(lt_call_arena(c), "%u", findings);
    lt_call_reply_field(c, LT_S("Lethe-Findings"), number.p ? number : LT_S(""));
    enum lt_verdict v = ok ? lt_call_reply(c, 200, NULL, lt_buf_span(&out)) : lt_call_fail(c, 503, "memory");
    lt_buf_fini(&out);
    return v;
}

static enum lt_verdict on_request(struct lt_call *c) {
    const struct lt_h1_head *request = lt_call_request(c);
    bool is_metrics = lt_span_eq(request->path, LT_S("/metrics"));
    if (!is_metrics && !lt_span_eq(request->path, LT_S("/doctor")))
        return LT_NEXT;
    if (request->method != LT_METHOD_GET && request->method != LT_METHOD_HEAD)
        return lt_call_reply(c, 405, NULL, LT_S("write GET\n"));
    return is_metrics ? metrics(c) : doctor(c);
}

const struct lt_module lt_module_admin = {
    .name = "admin",
    .summary = "answers /metrics and /doctor on the admin listener",
    .phase = LT_PHASE_GATE,
    .enabled = never,
    .on_admin = true,
    .on_request = on_request,
};
