// SPDX-License-Identifier: Apache-2.0
#include "doctor.h"

#include "admin_client.h"
#include "report.h"

#include <stdio.h>

enum { ASK_MS = 5000, REPORT_MAX = 1 << 20 };

// --- the report ---

static bool print_entry(const struct lt_exam_entry *e, struct lt_buf *out) {
    const struct lt_found *f = &e->found;
    switch (e->kind) {
    case LT_EXAM_MODULE:
        return lt_buf_printf(out, "%s: %s\n", e->module, e->text);
    case LT_EXAM_NOTE:
        return lt_buf_printf(out, "   %s\n", e->text);
    case LT_EXAM_FINDING:
        return lt_buf_printf(out, " ! %s", e->text) && (!f->route || lt_buf_printf(out, ", on %s", f->route)) &&
               (!f->example || lt_buf_printf(out, " (%s)", f->example)) &&
               (!f->count || lt_buf_printf(out, ": %llu times", (unsigned long long)f->count)) &&
               lt_buf_printf(out, "\n   -> %s\n", f->remedy);
    default: // verdicts and figures have places of their own
        return true;
    }
}

static bool print_requirements(const struct lt_report *r, struct lt_buf *out) {
    bool ok = lt_buf_printf(out, "\nrequirements of stateless services:\n");
    for (unsigned i = 1; i < LT_REQUIREMENTS; i++) {
        const struct lt_judgement *j = &r->requirements[i];
        ok = ok && lt_buf_printf(out, "   %-8s %s\n            %s\n", lt_verdict_name(j->verdict),
                                 lt_requirement_title((enum lt_requirement)i), j->evidence);
        if (*j->remedy)
            ok = ok && lt_buf_printf(out, "            -> %s\n", j->remedy);
    }
    return ok;
}

bool lt_doctor_report(struct lt_buf *out, unsigned *findings) {
    struct lt_report r;
    bool ok = lt_report_make(&r);
    *findings = r.exam.findings;
    for (const struct lt_exam_entry *e = r.exam.first; ok && e; e = e->next)
        ok = print_entry(e, out);
    ok = ok && lt_buf_printf(out, "\nstate: %s: %s%s%s\n", lt_condition_name(r.condition), r.says,
                             *r.advice ? "\n            -> " : "", r.advice);
    ok = ok && print_requirements(&r, out) &&
         lt_buf_printf(out, "%s\n", *findings || r.condition == LT_FAILING ? "" : "\nNothing wrong was seen.");
    lt_report_fini(&r);
    return ok;
}

// --- the command ---

static int print(const struct lt_admin_answer *a) {
    static const char none[] = "Lethe-Findings: 0\r\n";
    fwrite(a->body.p, 1, a->body.n, stdout);
    return memmem(a->head.p, a->head.n, none, sizeof none - 1) ? 0 : 1;
}

int lt_doctor_ask(struct lt_span address) {
    struct lt_buf buf;
    struct lt_admin_answer answer;
    lt_buf_init(&buf, REPORT_MAX);
    const char *why = lt_admin_ask(address, "GET /doctor", ASK_MS, &buf, &answer);
    if (!why && answer.status != 200)
        why = "the answer is not lethe's";
    if (why)
        lt_admin_no_answer("doctor", address, why);
    int code = why ? 2 : print(&answer);
    lt_buf_fini(&buf);
    return code;
}
