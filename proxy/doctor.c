// SPDX-License-Identifier: Apache-2.0
#include "doctor.h"

#include "net/address.h"
#include "process.h"

#include <errno.h>
#include <stdio.h>
#include <sys/time.h>
#include <unistd.h>

enum { WORKERS_MAX = 256 + 8, ASK_SECONDS = 5, REPORT_MAX = 1 << 20 };

// --- the report ---

// The module's rows of all workers, into `all`; returns how many.
static unsigned rows_of(unsigned index, struct lt_metrics *all[WORKERS_MAX]) {
    unsigned n, n_sides, k = 0;
    struct lt_worker *workers = lt_process_workers(&n), *sides = lt_process_sides(&n_sides);
    for (unsigned i = 0; i < n; i++)
        all[k++] = &workers[i].module_metrics[index];
    for (unsigned i = 0; i < n_sides; i++)
        all[k++] = &sides[i].module_metrics[index];
    return k;
}

bool lt_doctor_report(struct lt_buf *out, unsigned *findings) {
    unsigned n_sides;
    struct lt_worker *sides = lt_process_sides(&n_sides);
    const struct lt_snapshot *s = n_sides ? sides[0].generation->snapshot : NULL; // the admin's own: we run there
    struct lt_metrics *all[WORKERS_MAX];
    struct lt_exam e = {.out = out, .all = all, .config = s ? &s->config : NULL};
    bool ok = true;
    for (unsigned i = 0; s && i < s->n_modules; i++) {
        const struct lt_module *m = s->modules[i];
        if (!m->examine)
            continue;
        e.conf = m->options.prefix ? lt_config_group(&s->config, m->options.prefix) : NULL;
        e.used = !m->enabled || m->enabled(e.conf);
        e.n_all = rows_of(i, all);
        ok = ok && lt_buf_printf(out, "%s: %s\n", m->name, e.used ? m->summary : "not in use");
        m->examine(&e);
    }
    *findings = e.findings;
    return ok && !e.full && lt_buf_printf(out, "%s\n", e.findings ? "" : "\nNothing wrong was seen.");
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
