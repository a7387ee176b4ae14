// SPDX-License-Identifier: Apache-2.0
// The session module's part of `lethe doctor`: what became of sessions, and the verdict on those that were lost.
#include "modules/session/state.h"

#include "base/lost.h"

static const struct cause {
    const char *reason, *what, *remedy;
} causes[] = {
    {"missing_file", "the application did not know a session whose file lethe should have carried, and began another",
     "files.dir must be the directory of the application beside this lethe, shared with it alone; see docs/stacks"},
    {"adapter_miss", "the application asked for a session that the store does not have",
     "load the adapter on every replica, and let the store keep what it has (no eviction, persistence)"},
    {"late_write", "the application wrote its session behind its answer, when another request had begun already",
     "close the session before the answer ends (session_write_close() before fastcgi_finish_request())"},
    {"reissued_id", "a page that only reads gave its user a new session: the application does not know its own id",
     "session content stays in the application: set files.profile or state_api.profile (a login by GET looks the "
     "same)"},
    {"not_committed", "what a request made of its session could not be stored, and its answer failed",
     "see lethe_store_seconds and lethe_store_breaker_open: the store was away, or a request lasted beyond its lease"},
};

static void verdict(struct lt_exam *e, const struct lt_lost *row) {
    for (unsigned i = 0; i < sizeof causes / sizeof *causes; i++)
        if (strcmp(causes[i].reason, row->reason) == 0)
            lt_exam_finding(e, causes[i].remedy, "%llu times on %s: %s", (unsigned long long)row->count, row->route,
                            causes[i].what);
}

void session_examine(struct lt_exam *e) {
    struct lt_lost rows[LT_LOST_ROWS];
    unsigned n = lt_lost_look(rows, LT_LOST_ROWS);
    unsigned long long created = lt_exam_total(e, M_CREATED), loaded = lt_exam_total(e, M_LOADED);
    lt_exam_note(e, "%llu sessions made, %llu loads, %llu new ids, %llu ended", created, loaded,
                 (unsigned long long)lt_exam_total(e, M_ROTATED), (unsigned long long)lt_exam_total(e, M_ENDED));
    if (lt_config_text(e->config, "keys").n == 0)
        lt_exam_finding(e, "give every replica the same LETHE_KEYS, made by \"lethe keygen\"", "there is no key ring");
    if (lt_exam_total(e, M_BREAKER))
        lt_exam_finding(e, "look at the store itself: lethe asks again by itself",
                        "the session store does not answer now");
    for (unsigned i = 0; i < n; i++)
        verdict(e, &rows[i]);
    if (created + loaded == 0)
        lt_exam_note(e, "no answer has set one of session.cookies yet");
}
