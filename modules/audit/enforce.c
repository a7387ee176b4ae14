// SPDX-License-Identifier: Apache-2.0
// Turns findings of the audit into failures, from the first one until it is acknowledged.
#include "modules/audit/audit.h"

#include "http/probe_path.h"
#include "modules/audit/conf.h"
#include "modules/audit/findings.h"

enum answer { ANSWER_503, ANSWER_UNREADY };

static const char *const answers[] = {"503", "unready", NULL};

struct enforce_conf {
    struct lt_option_list findings;
    int answer;
};

struct enforce_worker {
    const struct lt_services *services;
    struct lt_option_list probes; // health.paths
    unsigned mask;                // a bit for each kind
};

static enum lt_verdict unready(struct lt_call *c, unsigned kinds) {
    struct lt_span text = lt_arena_printf(lt_call_arena(c), "[failed] audit:");
    for (unsigned k = 0; text.p && k < AUDIT_KINDS; k++)
        if (kinds & 1u << k)
            text = lt_arena_printf(lt_call_arena(c), "%s %s", text.p, audit_kind_names[k]);
    text = lt_arena_printf(lt_call_arena(c), "%s (enforce.findings; see lethe doctor)\n", text.p ? text.p : "");
    return text.p ? lt_call_reply(c, 503, NULL, text) : lt_call_fail(c, 503, "memory");
}

static enum lt_verdict on_request(struct lt_call *c) {
    const struct enforce_worker *w = c->worker;
    const struct enforce_conf *conf = c->conf;
    unsigned kinds = audit_seen() & w->mask;
    if (!kinds)
        return LT_NEXT;
    struct lt_span path = lt_call_request(c)->path;
    bool admin = w->services->role == LT_ROLE_ADMIN;
    enum lt_probe probe = admin ? lt_probe_by_name(path) : lt_probe_by_entries(path, w->probes.v, w->probes.n);
    if (conf->answer == ANSWER_UNREADY)
        return probe == LT_PROBE_READYZ ? unready(c, kinds) : LT_NEXT;
    return probe == LT_PROBE_NONE && !admin ? lt_call_fail(c, 503, "audit") : LT_NEXT;
}

static bool enabled(const void *conf) {
    return ((const struct enforce_conf *)conf)->findings.n > 0;
}

static bool worker_init(void *worker, const void *conf_, const struct lt_services *services) {
    struct enforce_worker *w = worker;
    const struct enforce_conf *conf = conf_;
    const struct lt_option_list *probes = lt_config_list(services->config, "health.paths");
    w->services = services;
    if (probes)
        w->probes = *probes;
    for (unsigned i = 0; i < conf->findings.n; i++)
        w->mask |= 1u << audit_kind_of(conf->findings.v[i]);
    return true;
}

static const char *check_finding(struct lt_span name) {
    return audit_kind_of(name) < AUDIT_KINDS
               ? NULL
               : "write \"disk\", \"sticky\", \"replica-id\", \"lost-session\" or \"growth\"";
}

static void check(const struct lt_config *config, struct lt_diag *diag) {
    const struct enforce_conf *conf = lt_config_group(config, "enforce");
    const struct audit_conf *audit = lt_config_group(config, "audit");
    if (!enabled(conf) || !audit)
        return;
    if (!audit->enabled)
        lt_diag_add(diag, "enforce.findings: nothing is looked for; write audit.enabled = true");
    for (unsigned i = 0; i < conf->findings.n; i++) {
        enum audit_kind kind = audit_kind_of(conf->findings.v[i]);
        if ((kind == AUDIT_DISK || kind == AUDIT_GROWTH) && audit->enabled && audit->paths.n == 0)
            lt_diag_add(diag, "enforce.findings: \"%s\" needs directories to watch; write audit.paths",
                        audit_kind_names[kind]);
    }
}

#define AT(field) offsetof(struct enforce_conf, field)

// One row an option.
// clang-format off
static const struct lt_option options[] = {
    {.name = "findings",
     .type = LT_OPT_LIST,
     .offset = AT(findings),
     .fallback = "",
     .max = AUDIT_KINDS,
     .unit = "findings",
     .check = check_finding,
     .doc = "Findings of the audit that are failures: `disk`, `sticky`, `replica-id`, `lost-session`, `growth`. From the first "
            "one on, until `POST /audit/clear` on the admin listener or a restart. Empty: it only reports."},
    {.name = "answer",
     .type = LT_OPT_ENUM,
     .offset = AT(answer),
     .fallback = "503",
     .choices = answers,
     .doc = "What then fails: `503` every request but probes; `unready` `/readyz` alone, so that the replica is taken out."},
};
// clang-format on

const struct lt_module lt_module_enforce = {
    .name = "enforce",
    .summary = "turns findings of the audit into failures",
    .phase = LT_PHASE_GATE,
    .options = {"enforce", options, sizeof options / sizeof *options, sizeof(struct enforce_conf), NULL},
    .worker_size = sizeof(struct enforce_worker),
    .check = check,
    .enabled = enabled,
    .on_admin = true,
    .worker_init = worker_init,
    .on_request = on_request,
};
