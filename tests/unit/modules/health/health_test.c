// SPDX-License-Identifier: Apache-2.0
#include "modules/health/health.h"

#include "modules/health/cgroup.h"
#include "net/address.h"
#include "tests/rig/leaks.h"
#include "tests/rig/rig.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <unistd.h>

TestSuite(health, .fini = lt_rig_leaks);

// The control group that the module sees: a directory of fixtures instead of this machine's.
static const char *fixture = "not_there";

void __real_cgroup_find(struct cgroup *c, const char *root);
void __wrap_cgroup_find(struct cgroup *c, const char *root);

void __wrap_cgroup_find(struct cgroup *c, const char *root) {
    char path[512];
    cr_assert_str_empty(root, "the real paths begin at the root");
    snprintf(path, sizeof path, FIXTURES "%s", fixture);
    __real_cgroup_find(c, path);
}

static struct rig *admin_rig(const char *const *flags) {
    struct rig *r = rig_new(&(struct rig_setup){.module = &lt_module_health, .flags = flags, .role = LT_ROLE_ADMIN});
    cr_assert_not_null(r);
    return r;
}

static struct rig *main_rig(const char *const *flags) {
    struct rig *r = rig_new(&(struct rig_setup){.module = &lt_module_health, .flags = flags});
    cr_assert_not_null(r);
    return r;
}

// One request; `want` is the reply as "status body", or "" when it is left to the next module.
static void expect(struct rig *r, const char *request_line, const char *want) {
    char head[256], got[4096] = "";
    struct rig_exchange *x = rig_exchange_new(r);
    snprintf(head, sizeof head, "%s HTTP/1.1\nHost: a\n", request_line);
    if (rig_request(x, head) == LT_WAIT)
        cr_assert(rig_wait(x));
    if (x->verdict == LT_REPLY) {
        snprintf(got, sizeof got, "%d %s", x->status, x->body);
        cr_assert_str_eq(x->type, "text/plain; charset=utf-8");
        cr_assert_eq(x->body_size, strlen(x->body));
    }
    cr_assert(x->verdict == LT_REPLY || x->verdict == LT_NEXT);
    cr_assert_str_eq(got, want, "%s: %s", request_line, got);
    rig_exchange_free(x);
}

#define ALONE "--health.app=false"

Test(health, probes_of_the_admin_listener) {
    struct rig *r = admin_rig(RIG_FLAGS(ALONE));
    expect(r, "GET /livez", "200 ok\n");
    expect(r, "GET /readyz", "200 ok\n");
    expect(r, "GET /startupz", "200 ok\n");
    expect(r, "HEAD /livez", "200 ok\n");
    expect(r, "GET /livez?x=1", "200 ok\n");
    expect(r, "POST /livez", "405 write GET or HEAD\n");
    expect(r, "OPTIONS /readyz", "405 write GET or HEAD\n");
    static const char *const others[] = {"/",        "/livezz", "/livez/",  "/a/livez",
                                         "/metrics", "/LIVEZ",  "/healthz", "/?/livez"};
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
        char line[64];
        snprintf(line, sizeof line, "GET %s", others[i]);
        expect(r, line, "");
    }
    expect(r, "OPTIONS *", "");
    rig_free(r);
}

Test(health, main_listeners_only_when_told) {
    struct rig *r = main_rig(NULL);
    cr_assert_not(r->enabled);
    expect(r, "GET /livez", "");
    rig_free(r);
    r = main_rig(RIG_FLAGS(ALONE, "--health.paths=/in/livez,/healthz=livez,/=startupz,/readyz"));
    cr_assert(r->enabled);
    rig_process.started = false;
    expect(r, "GET /in/livez", "200 ok\n");
    expect(r, "GET /healthz?verbose=0",
           "200 [ok] workers: the slowest of 1 was seen 0 ms ago (health.heartbeat)\n[ok] memory: no limit here\n");
    expect(r, "HEAD /readyz", "200 ok\n");
    expect(r, "GET /", "503 [failed] listeners: do not accept yet\n");
    expect(r, "DELETE /healthz", "405 write GET or HEAD\n");
    expect(r, "GET /livez", "");
    expect(r, "GET /startupz", "");
    expect(r, "GET /healthz=livez", "");
    expect(r, "GET /healthz/", "");
    rig_free(r);
}

Test(health, workers) {
    struct rig *r = admin_rig(RIG_FLAGS(ALONE, "--health.heartbeat=2s"));
    rig_process.workers = 4;
    rig_process.oldest_heartbeat = 3000; // a heartbeat comes once a second
    expect(r, "GET /livez", "200 ok\n");
    rig_process.oldest_heartbeat = 3001;
    expect(r, "GET /livez", "503 [failed] workers: the slowest of 4 was seen 3001 ms ago (health.heartbeat)\n");
    expect(r, "GET /readyz", "503 [failed] workers: the slowest of 4 was seen 3001 ms ago (health.heartbeat)\n");
    expect(r, "GET /startupz", "200 ok\n");
    rig_free(r);
}

Test(health, draining_and_starting) {
    struct rig *r = admin_rig(RIG_FLAGS(ALONE));
    rig_process.draining = true;
    expect(r, "GET /livez", "200 ok\n");
    expect(r, "GET /readyz", "503 [failed] draining: yes, on its way out\n");
    rig_process.draining = rig_process.started = false;
    expect(r, "GET /livez", "200 ok\n");
    expect(r, "GET /startupz", "503 [failed] listeners: do not accept yet\n");
    expect(r, "GET /startupz?verbose", "503 [failed] listeners: do not accept yet\n");
    rig_free(r);
}

Test(health, memory) {
    fixture = "v2_container"; // 97 %
    struct rig *r = admin_rig(RIG_FLAGS(ALONE));
    expect(r, "GET /livez", "503 [failed] memory: 97 % (health.memory_limit is 95)\n");
    expect(r, "GET /readyz", "503 [failed] memory: 97 % (health.memory_limit is 95)\n");
    expect(r, "GET /startupz", "200 ok\n");
    rig_free(r);
    r = admin_rig(RIG_FLAGS(ALONE, "--health.memory_limit=97"));
    expect(r, "GET /livez", "200 ok\n");
    rig_free(r);
    r = admin_rig(RIG_FLAGS(ALONE, "--health.memory_limit=0"));
    expect(r, "GET /livez?verbose", "200 [ok] workers: the slowest of 1 was seen 0 ms ago (health.heartbeat)\n");
    rig_free(r);
}

Test(health, pressure_and_cpu) {
    fixture = "v2"; // memory 75 %, pressure 41 %
    struct rig *r = admin_rig(RIG_FLAGS(ALONE, "--health.pressure_limit=40", "--health.cpu_limit=90"));
    expect(r, "GET /livez", "503 [failed] pressure: 41 % (health.pressure_limit is 40)\n");
    expect(r, "GET /livez?verbose",
           "503 [ok] workers: the slowest of 1 was seen 0 ms ago (health.heartbeat)\n[ok] memory: 75 % "
           "(health.memory_limit is 95)\n"
           "[ok] cpu: no limit here\n[failed] pressure: 41 % (health.pressure_limit is 40)\n");
    rig_free(r);
    r = admin_rig(RIG_FLAGS(ALONE, "--health.pressure_limit=41"));
    expect(r, "GET /livez", "200 ok\n");
    rig_free(r);
    r = admin_rig(RIG_FLAGS(ALONE));
    expect(r, "GET /livez", "200 ok\n"); // neither is looked at unless it is asked for
    rig_free(r);
}

Test(health, several_lines) {
    fixture = "v2_container";
    struct rig *r = admin_rig(RIG_FLAGS("--health.app=false"));
    rig_process.oldest_heartbeat = 9999;
    rig_process.draining = true;
    expect(r, "GET /readyz",
           "503 [failed] workers: the slowest of 1 was seen 9999 ms ago (health.heartbeat)\n"
           "[failed] memory: 97 % (health.memory_limit is 95)\n[failed] draining: yes, on its way out\n");
    rig_free(r);
}

// --- the application's own socket ---

static int listen_here(char upstream[64]) {
    struct lt_address a;
    char text[LT_ADDRESS_TEXT];
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    cr_assert(lt_address_parse(LT_S("127.0.0.1:0"), &a) && bind(fd, &a.u.sa, a.size) == 0 && listen(fd, 8) == 0);
    cr_assert_eq(getsockname(fd, &a.u.sa, &a.size), 0);
    snprintf(upstream, 64, "--upstream=%s", lt_address_format(&a, text));
    return fd;
}

Test(health, application) {
    char upstream[64], want[160];
    int listener = listen_here(upstream);
    struct rig *r = admin_rig(RIG_FLAGS(upstream));
    expect(r, "GET /livez", "200 ok\n");
    expect(r, "GET /startupz", "200 ok\n");
    cr_assert_lt(accept(listener, NULL, NULL), 0, "these do not ask it");
    expect(r, "GET /readyz", "200 ok\n");
    close(listener);
    rig_advance(r, 1010);
    snprintf(want, sizeof want, "503 [failed] app: %s does not accept a connection\n", upstream + strlen("--upstream="));
    expect(r, "GET /readyz", want);
    expect(r, "GET /livez", "200 ok\n");
    expect(r, "GET /startupz", "200 ok\n");
    rig_free(r);
}

Test(health, probe_that_is_given_up) {
    char upstream[64];
    int listener = listen_here(upstream);
    struct rig *r = main_rig(RIG_FLAGS(upstream, "--health.paths=/readyz"));
    struct rig_exchange *gone = rig_exchange_new(r), *stays = rig_exchange_new(r);
    cr_assert_eq(rig_request(gone, "GET /readyz HTTP/1.1\nHost: a\n"), LT_WAIT);
    cr_assert_eq(rig_request(stays, "GET /readyz HTTP/1.1\nHost: a\n"), LT_WAIT);
    rig_exchange_free(gone);
    cr_assert(rig_wait(stays));
    cr_assert(stays->verdict == LT_REPLY && stays->status == 200);
    rig_exchange_free(stays);
    int fd = accept(listener, NULL, NULL);
    cr_assert(fd >= 0 && accept(listener, NULL, NULL) < 0, "one connection for both");
    close(fd);
    rig_advance(r, 1010);
    gone = rig_exchange_new(r);
    cr_assert_eq(rig_request(gone, "GET /readyz HTTP/1.1\nHost: a\n"), LT_WAIT);
    rig_exchange_free(gone);
    close(listener);
    struct rig_exchange *x = rig_exchange_new(r);
    cr_assert_eq(rig_request(x, "GET /readyz HTTP/1.1\nHost: a\n"), LT_WAIT, "what was given up has found nothing out");
    cr_assert(rig_wait(x));
    cr_assert_eq(x->status, 503);
    rig_exchange_free(x);
    rig_free(r);
}

// --- options ---

static void wrong(const char *flag, const char *part) {
    const char *findings = rig_findings(&(struct rig_setup){.module = &lt_module_health, .flags = RIG_FLAGS(flag)});
    cr_assert(strstr(findings, part), "%s: %s", flag, findings);
}

Test(health, options) {
    cr_assert_str_empty(rig_findings(&(struct rig_setup){.module = &lt_module_health}));
    wrong("--health.paths=healthz=livez", "write \"/healthz=livez\"");
    wrong("--health.paths=/healthz", "write \"/healthz=livez\"");
    wrong("--health.paths=/healthz=alive", "write \"/healthz=livez\"");
    wrong("--health.paths=/livez,/x", "write \"/healthz=livez\"");
    wrong("--health.memory_limit=101", "health.memory_limit");
    wrong("--health.heartbeat=100ms", "health.heartbeat");
}
