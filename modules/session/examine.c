// SPDX-License-Identifier: Apache-2.0
// The session module's part of `lethe doctor`: what became of sessions, and the verdict on those that were lost.
#include "modules/session/state.h"

#include "base/clock.h"
#include "base/lost.h"
#include "config/pattern.h"
#include "modules/session/unnamed.h"

#include <stdio.h>

enum { PASSED_MIN = 60 }; // an outage so long ago is no finding any more

static const struct cause {
    const char *reason, *what, *remedy;
    enum lt_requirement breaks;
    bool passes; // an outage, not the way in which things are set up
} causes[] = {
    {"missing_file", "the application did not know a session whose file lethe should have carried, and began another",
     "files.dir must be the directory of the application beside this lethe, shared with it alone; see docs/stacks",
     LT_REQ_MEMORY},
    {"adapter_miss", "the application asked for a session that the store does not have",
     "load the adapter on every replica, and let the store keep what it has (no eviction, persistence)", LT_REQ_STORE},
    {"late_write", "the application wrote its session behind its answer, when another request had begun already",
     "close the session before the answer ends (session_write_close() before fastcgi_finish_request())", LT_REQ_MEMORY},
    {"reissued_id", "a page that only reads gave its user a new session: the application does not know its own id",
     "session content stays in the application: set files.profile or state_api.profile (a login by GET looks the "
     "same)",
     LT_REQ_MEMORY},
    {"not_committed", "what a request made of its session could not be stored, and its answer failed",
     "see lethe_store_seconds and lethe_store_breaker_open: the store was away, or a request lasted beyond its lease",
     LT_REQ_STORE, true},
};

static void verdict(struct lt_exam *e, const struct lt_lost *row, const struct cause *cause) {
    int64_t minutes = (lt_clock_mono() - row->last) / 60000;
    if (cause->passes && minutes >= PASSED_MIN)
        lt_exam_note(e, "%s, on %s: %llu times, the last %lld h %lld min ago", cause->what, row->route,
                     (unsigned long long)row->count, (long long)(minutes / 60), (long long)(minutes % 60));
    else
        lt_exam_found(e,
                      &(struct lt_found){.breaks = cause->breaks,
                                         .remedy = cause->remedy,
                                         .route = row->route,
                                         .example = cause->reason,
                                         .count = row->count},
                      "%s", cause->what);
}

static void tell_lost(struct lt_exam *e) {
    struct lt_lost rows[LT_LOST_ROWS];
    unsigned n = lt_lost_look(rows, LT_LOST_ROWS);
    for (unsigned i = 0; i < n; i++)
        for (unsigned k = 0; k < sizeof causes / sizeof *causes; k++)
            if (strcmp(causes[k].reason, rows[i].reason) == 0)
                verdict(e, &rows[i], &causes[k]);
}

// The store's kind by its URL, of which nothing else is shown.
static const char *kind_of(struct lt_span url) {
    static const struct {
        struct lt_span scheme;
        const char *name;
    } kinds[] = {
        {{"redis+cluster", 13}, "Redis Cluster"},
        {{"rediss+cluster", 14}, "Redis Cluster"},
        {{"redis+sentinel", 14}, "Redis with Sentinel"},
        {{"rediss+sentinel", 15}, "Redis with Sentinel"},
        {{"redis", 5}, "Redis"},
        {{"postgres", 8}, "PostgreSQL"},
        {{"memcached", 9}, "memcached"},
        {{"jwt", 3}, "JSON Web Tokens that the client holds"},
    };
    for (unsigned i = 0; i < sizeof kinds / sizeof *kinds; i++)
        if (lt_span_starts(url, kinds[i].scheme))
            return kinds[i].name;
    return "encrypted cookies";
}

static const char *duration(int64_t ms, char out[32]) {
    bool minutes = ms % 60000 == 0, hours = ms % 3600000 == 0;
    snprintf(out, 32, "%lld %s",
             (long long)(ms / (hours     ? 3600000
                               : minutes ? 60000
                                         : 1000)),
             hours     ? "h"
             : minutes ? "min"
                       : "s");
    return out;
}

static void look_at_store(struct lt_exam *e) {
    const struct session_conf *conf = e->conf;
    const char *kind = kind_of(lt_config_text(e->config, "store"));
    uint64_t full = lt_exam_total(e, M_STORE_EVENTS + LT_STORE_FULL);
    uint64_t evicted = lt_exam_total(e, M_STORE_EVENTS + LT_STORE_EVICTED);
    if (lt_config_text(e->config, "keys").n == 0)
        lt_exam_found(e,
                      &(struct lt_found){.breaks = LT_REQ_STORE,
                                         .remedy = "give every replica the same LETHE_KEYS, made by \"lethe keygen\""},
                      "there is no key ring");
    if (lt_exam_total(e, M_BREAKER))
        lt_exam_found(e,
                      &(struct lt_found){.urgent = true,
                                         .remedy = "look at the store itself: lethe asks again by itself, and its "
                                                   "log says why"},
                      "the session store does not answer now");
    if (full)
        lt_exam_found(e,
                      &(struct lt_found){.breaks = LT_REQ_STORE,
                                         .count = full,
                                         .remedy = "give the store more memory, or shorten session.idle_ttl"},
                      "the store had no memory left, and sessions could not be written");
    if (evicted)
        lt_exam_found(e,
                      &(struct lt_found){.breaks = LT_REQ_STORE,
                                         .count = evicted,
                                         .remedy = "set maxmemory-policy noeviction, and give Redis more memory"},
                      "the store threw keys away to have memory: sessions may be among them");
    char idle[32], absolute[32];
    lt_exam_kept(e, LT_REQ_STORE, "sessions are in %s; each ends %s after its last use, %s after it began at the latest",
                 kind, duration(conf->idle_ttl, idle), duration(conf->absolute_ttl, absolute));
    lt_exam_text(e, "store", "kind", kind);
    lt_exam_number(e, "store", "client_held", lt_store_is_client_held(lt_config_text(e->config, "store")));
    lt_exam_number(e, "store", "breaker_open", lt_exam_total(e, M_BREAKER));
    lt_exam_number(e, "store", "breaker_opened", lt_exam_total(e, M_STORE_EVENTS + LT_STORE_BREAKER_OPENED));
    lt_exam_number(e, "store", "full", full);
    lt_exam_number(e, "store", "evicted", evicted);
    lt_exam_times(e, "store", "seconds", M_STORE_SECONDS);
}

static void tell_figures(struct lt_exam *e) {
    static const struct {
        const char *name;
        unsigned row;
    } figures[] = {
        {"created", M_CREATED},
        {"loaded", M_LOADED},
        {"missing", M_MISSING},
        {"rotated", M_ROTATED},
        {"ended", M_ENDED},
        {"lost", M_LOST},
        {"lock_waited", M_LOCK_WAITED},
        {"lock_timeout", M_LOCK_TIMEOUT},
        {"fenced", M_FENCED},
        {"revoked", M_REVOKED},
        {"outage_sealed", M_OUTAGE_SEALED},
        {"outage_anonymous", M_OUTAGE_ANONYMOUS},
    };
    for (unsigned i = 0; i < sizeof figures / sizeof *figures; i++)
        lt_exam_number(e, "sessions", figures[i].name, lt_exam_total(e, figures[i].row));
}

static void ask_about(struct lt_exam *e, const struct unnamed *row, bool carries) {
    static const char remedy[] =
        "if the application knows its users by that cookie, write it into session.cookies (with "
        "files into files.cookie, too); if not, into session.ignore_cookies";
    if (carries)
        lt_exam_unsure(
            e, LT_REQ_MEMORY, remedy,
            "the cookie \"%s\" looks like a session's and is not in session.cookies: it goes to the client "
            "as it is, and lethe does not know whose session a request with it is (%llu so far, the last on %s)",
            row->name, (unsigned long long)row->count, row->route);
    else
        lt_exam_found(
            e,
            &(struct lt_found){
                .breaks = LT_REQ_MEMORY, .remedy = remedy, .route = row->route, .example = row->name, .count = row->count},
            "no session has been carried yet, and a cookie that looks like one is not in session.cookies");
}

// `carries`: some session was. Those that the configuration has named since are none any more.
static void ask_about_unnamed(struct lt_exam *e, bool carries) {
    const struct session_conf *conf = e->conf;
    struct unnamed rows[UNNAMED_ROWS];
    unsigned n = unnamed_look(rows, UNNAMED_ROWS);
    for (unsigned i = 0; i < n; i++) {
        struct lt_span name = lt_span_cstr(rows[i].name);
        if (cookie_kind(name, &conf->cookies) == COOKIE_OTHER && !lt_pattern_list_matches(&conf->ignore_cookies, name))
            ask_about(e, &rows[i], carries);
    }
}

void session_examine(struct lt_exam *e) {
    unsigned long long created = lt_exam_total(e, M_CREATED), loaded = lt_exam_total(e, M_LOADED);
    lt_exam_note(e, "%llu sessions made, %llu loads, %llu new ids, %llu ended", created, loaded,
                 (unsigned long long)lt_exam_total(e, M_ROTATED), (unsigned long long)lt_exam_total(e, M_ENDED));
    look_at_store(e);
    tell_figures(e);
    tell_lost(e);
    if (created + loaded == 0)
        lt_exam_note(e,
                     "no answer has set one of session.cookies yet; if somebody has logged in, write the name of the "
                     "application's cookie there");
    ask_about_unnamed(e, created + loaded > 0);
    if (!e->carriers)
        lt_exam_unsure(
            e, LT_REQ_MEMORY,
            "where the application keeps session content in files or in memory, set files.profile or "
            "state_api.profile: docs/README.md has a page for each stack",
            "no carrier is in use, so only the session's cookies are carried; what the application keeps for "
            "them is not watched, but for new ids that it gives to known users (none in %llu loads)",
            loaded);
}
