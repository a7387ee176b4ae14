// SPDX-License-Identifier: Apache-2.0
// The report as JSON, member by member, so that a stream sends only those that changed.
#include "report.h"

#include "base/json.h"
#include "base/lost.h"
#include "reason.h"

#include <unistd.h>

const char *const lt_report_names[LT_REPORT_MEMBERS] = {"lethe",   "status",  "requirements", "findings", "notes",
                                                        "traffic", "latency", "sessions",     "store",    "stripped",
                                                        "lost",    "probes",  "errors"};

static bool text(struct lt_buf *out, const char *before, const char *value) {
    return lt_buf_printf(out, "%s", before) && lt_json_text(out, lt_span_cstr(value ? value : ""));
}

// A list or an object: what stands before its next element.
static const char *comma(bool *first) {
    const char *mark = *first ? "" : ",";
    *first = false;
    return mark;
}

static bool print_lethe(const struct lt_report *r, struct lt_buf *out) {
    char host[256] = "";
    gethostname(host, sizeof host - 1);
    const struct lt_process_view *p = &r->process;
    return text(out, "{\"version\":", LETHE_VERSION) && text(out, ",\"host\":", host) &&
           lt_buf_printf(out, ",\"pid\":%d,\"uptime_s\":%lld,\"workers\":%u,\"heartbeat_ms\":%lld,\"draining\":%s}",
                         (int)getpid(), (long long)(p->uptime / 1000), p->workers, (long long)p->oldest_heartbeat,
                         p->draining ? "true" : "false");
}

static bool print_status(const struct lt_report *r, struct lt_buf *out) {
    return text(out, "{\"state\":", lt_condition_name(r->condition)) && text(out, ",\"says\":", r->says) &&
           text(out, ",\"do\":", r->advice) && lt_buf_printf(out, "}");
}

static bool print_requirements(const struct lt_report *r, struct lt_buf *out) {
    bool ok = lt_buf_printf(out, "[");
    for (unsigned i = 1; i < LT_REQUIREMENTS; i++) {
        const struct lt_judgement *j = &r->requirements[i];
        ok = ok && text(out, i > 1 ? ",{\"id\":" : "{\"id\":", lt_requirement_id((enum lt_requirement)i)) &&
             text(out, ",\"title\":", lt_requirement_title((enum lt_requirement)i)) &&
             text(out, ",\"verdict\":", lt_verdict_name(j->verdict)) && text(out, ",\"evidence\":", j->evidence) &&
             text(out, ",\"remedy\":", j->remedy) && lt_buf_printf(out, "}");
    }
    return ok && lt_buf_printf(out, "]");
}

static bool print_finding(const struct lt_exam_entry *e, struct lt_buf *out) {
    const struct lt_found *f = &e->found;
    bool ok = text(out, "{\"module\":", e->module) && text(out, ",\"text\":", e->text) &&
              text(out, ",\"requirement\":", f->breaks ? lt_requirement_id(f->breaks) : "") &&
              text(out, ",\"route\":", f->route) && text(out, ",\"example\":", f->example);
    return ok && text(out, ",\"remedy\":", f->remedy) &&
           lt_buf_printf(out, ",\"count\":%llu,\"urgent\":%s}", (unsigned long long)f->count,
                         f->urgent ? "true" : "false");
}

static bool print_findings(const struct lt_report *r, struct lt_buf *out) {
    bool first = true, ok = lt_buf_printf(out, "[");
    for (const struct lt_exam_entry *e = r->exam.first; e; e = e->next)
        if (e->kind == LT_EXAM_FINDING)
            ok = ok && lt_buf_printf(out, "%s", comma(&first)) && print_finding(e, out);
    return ok && lt_buf_printf(out, "]");
}

static bool print_notes(const struct lt_report *r, struct lt_buf *out) {
    bool first = true, ok = lt_buf_printf(out, "[");
    for (const struct lt_exam_entry *e = r->exam.first; e; e = e->next)
        if (e->kind == LT_EXAM_MODULE || e->kind == LT_EXAM_NOTE)
            ok = ok && lt_buf_printf(out, "%s", comma(&first)) && text(out, "{\"module\":", e->module) &&
                 text(out, ",\"text\":", e->text) && lt_buf_printf(out, "}");
    return ok && lt_buf_printf(out, "]");
}

static bool print_times(const uint64_t *slots, struct lt_buf *out) {
    bool ok = lt_buf_printf(out, "{\"bounds_us\":[");
    for (unsigned i = 0; i < LT_HISTOGRAM_BUCKETS; i++)
        ok = ok && lt_buf_printf(out, "%s%llu", i ? "," : "", (unsigned long long)lt_histogram_bounds[i]);
    ok = ok && lt_buf_printf(out, "],\"counts\":[");
    for (unsigned i = 0; i <= LT_HISTOGRAM_BUCKETS; i++)
        ok = ok && lt_buf_printf(out, "%s%llu", i ? "," : "", (unsigned long long)slots[i]);
    return ok && lt_buf_printf(out, "],\"sum_us\":%llu}", (unsigned long long)slots[LT_HISTOGRAM_BUCKETS + 1]);
}

static bool print_figure(const struct lt_exam_entry *e, struct lt_buf *out) {
    switch (e->kind) {
    case LT_EXAM_NUMBER:
        return lt_buf_printf(out, "%llu", (unsigned long long)e->value);
    case LT_EXAM_TEXT:
        return text(out, "", e->text);
    default:
        return e->slots && print_times(e->slots, out);
    }
}

static bool print_group(const struct lt_report *r, const char *group, struct lt_buf *out) {
    bool first = true, ok = lt_buf_printf(out, "{");
    for (const struct lt_exam_entry *e = r->exam.first; e; e = e->next)
        if (e->group && strcmp(e->group, group) == 0)
            ok = ok && text(out, comma(&first), e->name) && lt_buf_printf(out, ":") && print_figure(e, out);
    return ok && lt_buf_printf(out, "}");
}

// Of one product "request" and "response" were said apart: a side is the group.
static bool print_stripped(const struct lt_report *r, struct lt_buf *out) {
    bool first = true, ok = lt_buf_printf(out, "[");
    for (const struct lt_exam_entry *e = r->exam.first; e; e = e->next) {
        bool in = e->group && strcmp(e->group, "stripped_request") == 0;
        if (!in && !(e->group && strcmp(e->group, "stripped_response") == 0))
            continue;
        ok = ok && lt_buf_printf(out, "%s", comma(&first)) && text(out, "{\"product\":", e->name) &&
             text(out, ",\"side\":", in ? "request" : "response") &&
             lt_buf_printf(out, ",\"count\":%llu}", (unsigned long long)e->value);
    }
    return ok && lt_buf_printf(out, "]");
}

static bool print_lost(struct lt_buf *out) {
    struct lt_lost rows[LT_LOST_ROWS];
    unsigned n = lt_lost_look(rows, LT_LOST_ROWS);
    bool ok = lt_buf_printf(out, "[");
    for (unsigned i = 0; i < n; i++)
        ok = ok && text(out, i ? ",{\"reason\":" : "{\"reason\":", rows[i].reason) &&
             text(out, ",\"route\":", rows[i].route) &&
             lt_buf_printf(out, ",\"count\":%llu}", (unsigned long long)rows[i].count);
    return ok && lt_buf_printf(out, "]");
}

static bool print_error(const struct lt_log_row *row, struct lt_buf *out) {
    const struct lt_reason *reason = lt_reason_find(row->why);
    return lt_buf_printf(out, "{\"time_ms\":%lld,\"level\":\"%s\",\"count\":%llu", (long long)row->time,
                         row->level == LT_LOG_ERROR ? "error" : "warn", (unsigned long long)row->count) &&
           text(out, ",\"event\":", row->event) && text(out, ",\"reason\":", row->why) &&
           text(out, ",\"says\":", reason ? reason->says : row->why) &&
           text(out, ",\"do\":", reason && !*row->advice ? reason->advice : row->advice) &&
           text(out, ",\"id\":", row->id) && lt_buf_printf(out, "}");
}

static bool print_errors(struct lt_buf *out) {
    struct lt_log_row rows[LT_LOG_ROWS];
    unsigned n = lt_log_recent(rows);
    bool ok = lt_buf_printf(out, "[");
    for (unsigned i = 0; i < n; i++)
        ok = ok && lt_buf_printf(out, "%s", i ? "," : "") && print_error(&rows[i], out);
    return ok && lt_buf_printf(out, "]");
}

bool lt_report_print(const struct lt_report *r, enum lt_report_member m, struct lt_buf *out) {
    switch (m) {
    case LT_REPORT_LETHE:
        return print_lethe(r, out);
    case LT_REPORT_STATUS:
        return print_status(r, out);
    case LT_REPORT_REQUIREMENTS:
        return print_requirements(r, out);
    case LT_REPORT_FINDINGS:
        return print_findings(r, out);
    case LT_REPORT_NOTES:
        return print_notes(r, out);
    case LT_REPORT_STRIPPED:
        return print_stripped(r, out);
    case LT_REPORT_LOST:
        return print_lost(out);
    case LT_REPORT_ERRORS:
        return print_errors(out);
    default: // traffic, latency, sessions, store, probes: what was said under this name
        return print_group(r, lt_report_names[m], out);
    }
}
