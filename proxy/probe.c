// SPDX-License-Identifier: Apache-2.0
#include "probe.h"

#include "admin_client.h"

#include <stdio.h>

enum { LIMIT_MS = 2000, ANSWER_MAX = 16384 };

// "readyz: ok", or the checks that failed, one behind the other: a container's health log shows lines.
static int print(const char *name, const struct lt_admin_answer *a) {
    struct lt_span body = a->body;
    bool ok = a->status == 200;
    printf("%s: ", name);
    if (!ok)
        printf("%u: ", a->status);
    while (body.n && body.p[body.n - 1] == '\n')
        body.n--;
    for (size_t i = 0; i < body.n; i++)
        fputs(body.p[i] == '\n' ? "; " : (char[]){body.p[i], 0}, stdout);
    puts("");
    return ok ? 0 : 1;
}

int lt_probe_ask(struct lt_span address, const char *name) {
    struct lt_buf buf;
    struct lt_admin_answer answer;
    char request[32], command[32];
    snprintf(request, sizeof request, "GET /%s", name);
    snprintf(command, sizeof command, "probe: %s", name);
    lt_buf_init(&buf, ANSWER_MAX);
    const char *why = lt_admin_ask(address, request, LIMIT_MS, &buf, &answer);
    if (why)
        lt_admin_no_answer(command, address, why);
    int code = why ? 1 : print(name, &answer);
    lt_buf_fini(&buf);
    return code;
}
