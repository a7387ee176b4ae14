// SPDX-License-Identifier: Apache-2.0
#include "doctor.h"

#include "net/address.h"
#include "report.h"

#include <errno.h>
#include <stdio.h>
#include <sys/time.h>
#include <unistd.h>

enum { ASK_SECONDS = 5, REPORT_MAX = 1 << 20 };

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

static int fail(struct lt_span address, const char *why) {
    fprintf(stderr,
            "lethe: doctor: %.*s: %s; write \"--admin host:port\" of a running lethe that has the option \"admin\"\n",
            (int)address.n, address.p, why);
    return 2;
}

static int dial(const struct lt_address *a) {
    struct timeval limit = {.tv_sec = ASK_SECONDS};
    int fd = socket(a->u.sa.sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -1;
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
    if (connect(fd, &a->u.sa, a->size) == 0)
        return fd;
    int kept = errno;
    close(fd);
    errno = kept;
    return -1;
}

// The whole answer. False: errno says why.
static bool fetch(int fd, struct lt_buf *answer) {
    static const char ask[] = "GET /doctor HTTP/1.0\r\nHost: doctor\r\n\r\n";
    if (send(fd, ask, sizeof ask - 1, MSG_NOSIGNAL) != (ssize_t)sizeof ask - 1)
        return false;
    for (;;) {
        char *room = lt_buf_reserve(answer, 4096);
        ssize_t n = room ? recv(fd, room, 4096, 0) : -1;
        if (n <= 0)
            return n == 0;
        lt_buf_grew(answer, (size_t)n);
    }
}

static int print(struct lt_span address, struct lt_span answer) {
    static const char ok[] = "HTTP/1.1 200", findings[] = "Lethe-Findings: 0\r\n";
    const char *body = answer.p ? memmem(answer.p, answer.n, "\r\n\r\n", 4) : NULL;
    if (!answer.p || !body || !lt_span_starts(answer, lt_span_cstr(ok)))
        return fail(address, "the answer is not lethe's");
    size_t head = (size_t)(body - answer.p) + 4;
    fwrite(body + 4, 1, answer.n - head, stdout);
    return memmem(answer.p, head, findings, sizeof findings - 1) ? 0 : 1;
}

int lt_doctor_ask(struct lt_span address) {
    struct lt_address a;
    struct lt_buf answer;
    if (!lt_address_parse(address, &a))
        return fail(address, address.n ? "no address of this machine" : "the option \"admin\" is empty");
    int fd = dial(&a);
    if (fd < 0)
        return fail(address, strerror(errno));
    lt_buf_init(&answer, REPORT_MAX);
    int code = fetch(fd, &answer) ? print(address, lt_buf_span(&answer)) : fail(address, strerror(errno));
    lt_buf_fini(&answer);
    close(fd);
    return code;
}
