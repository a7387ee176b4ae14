// SPDX-License-Identifier: Apache-2.0
// The proxy's side. A blob is in the store once the adapter's write was answered; what is left to do here is to hold the answer back until
// then: a browser follows a redirect on its head, while the application saves behind it (FACTS section 5).
#include "modules/state_api/state_api.h"

#include "crypto/keys.h"
#include "http/framing.h"
#include "modules/state_api/state.h"
#include "net/address.h"

#include <stdio.h>
#include <unistd.h>

static const char *const profiles[] = {"",       "generic", "express", "koa",   "fastify", "cherrypy",
                                       "django", "beaker",  "rack",    "plack", "dancer2", NULL};
static const char *const locks[] = {"auto", "exclusive", "none", NULL};
enum { EXPRESS = 2, LOCK_AUTO = 0, LOCK_EXCLUSIVE = 1 };

static bool enabled(const void *conf) {
    return ((const struct state_conf *)conf)->profile != 0;
}

// express lets the last write win on one replica, too (6 to 8 of 8 parallel increments are kept); all others lose nothing, or nearly, there.
bool state_is_exclusive(const struct state_conf *conf) {
    return conf->lock == LOCK_AUTO ? conf->profile != EXPRESS : conf->lock == LOCK_EXCLUSIVE;
}

static bool exclusive(const void *conf) {
    return state_is_exclusive(conf);
}

// Peers of another user are told apart by the kernel's word, so the socket is open to them when any are allowed.
static struct lt_span listen_at(const void *conf, unsigned *mode) {
    const struct state_conf *s = conf;
    *mode = s->allow_uids.n ? 0666 : 0600;
    return enabled(conf) ? s->listen : LT_S("");
}

static bool is_local(struct lt_span address) {
    return lt_span_starts(address, LT_S("unix:")) || lt_span_starts(address, LT_S("127.")) ||
           lt_span_starts(address, LT_S("[::1]:"));
}

static void check(const struct lt_config *config, struct lt_diag *diag) {
    const struct state_conf *conf = lt_config_group(config, "state_api");
    if (!enabled(conf))
        return;
    const char *refused = lt_store_refuses_content(config);
    if (refused)
        lt_diag_add(diag, "state_api.profile: %s", refused);
    if (conf->listen.n == 0)
        lt_diag_add(
            diag,
            "state_api.listen: not given, but state_api.profile is \"%s\"; write \"unix:/run/lethe/state.sock\", "
            "in a directory that the application sees, and give the application LETHE_STATE_API_LISTEN",
            profiles[conf->profile]);
    else if (!is_local(conf->listen))
        lt_diag_add(diag, "state_api.listen: only the application beside lethe may reach it; write \"unix:/path\" or "
                          "\"127.0.0.1:port\"");
}

static const char *check_uid(struct lt_span text) {
    unsigned long long uid;
    return lt_span_to_u64(text, 0xfffffffeull, &uid) ? NULL : "write a numeric user id such as \"1000\"";
}

static bool worker_init(void *worker, const void *conf, const struct lt_services *services) {
    struct state_worker *w = worker;
    const struct lt_config *config = services->config;
    (void)conf;
    w->services = services;
    if (services->role != LT_ROLE_OWN)
        return true;
    struct lt_span keys = lt_config_text(config, "keys");
    char error[512] = "no randomness";
    if (!(keys.n ? lt_keys_load(&w->ring, keys, error, sizeof error) : lt_keys_default(&w->ring, false))) {
        LT_LOG(LT_LOG_ERROR, "keys_failed", lt_fs("why", error));
        return false;
    }
    w->prefix = lt_config_text(config, "session.prefix");
    w->idle_ttl = lt_config_number(config, "session.idle_ttl");
    w->absolute_ttl = lt_config_number(config, "session.absolute_ttl");
    w->lock_ttl = lt_config_number(config, "session.lock_ttl");
    char apart[LT_STORE_PREFIX_MAX + 1]; // from the clients' sessions, for an operator who lists those
    snprintf(apart, sizeof apart, "%.*s:blob", (int)w->prefix.n, w->prefix.p);
    w->store = lt_store_new(&(struct lt_store_options){
        .loop = services->loop,
        .url = lt_config_text(config, "store"),
        .prefix = lt_span_cstr(apart),
        .timeout = lt_config_number(config, "session.store_timeout"),
        .metrics = services->metrics,
        .seconds_row = M_SECONDS,
        .breaker_row = M_BREAKER,
        .events_row = M_STORE_EVENTS,
        .config = config,
    });
    return w->store != NULL;
}

static void worker_fini(void *worker) {
    struct state_worker *w = worker;
    lt_store_free(w->store);
    lt_key_ring_wipe(&w->ring);
}

static bool serves(const struct lt_call *c) {
    return ((const struct state_worker *)c->worker)->services->role == LT_ROLE_OWN;
}

static enum lt_verdict on_request(struct lt_call *c) {
    struct lt_session *s = lt_call_session(c);
    if (serves(c))
        return state_serve(c);
    if (!s)
        return LT_NEXT;
    state_count(c, M_SESSIONS);
    in_flight_add(&((struct state_call *)c->state)->flight, s->record, lt_call_request(c)->path);
    return LT_NEXT;
}

static enum lt_verdict on_response(struct lt_call *c) {
    const struct lt_h1_head *response = lt_call_response(c);
    struct lt_session *s = lt_call_session(c);
    if (lt_framing_lasts(response)) {
        if (s)
            s->settled = true; // what it has saved is in the store; nothing is held up to the end of a stream
    } else if (s || lt_headers_get(&response->headers, LT_HDR_SET_COOKIE)) {
        lt_call_hold(c, true);
    }
    return LT_NEXT;
}

static void on_done(struct lt_call *c) {
    if (serves(c))
        state_serve_done(c);
    else if (c->state)
        in_flight_remove(&((struct state_call *)c->state)->flight);
}

static void find(struct lt_exam *e, const char *remedy, uint64_t count, const char *what) {
    lt_exam_found(e, &(struct lt_found){.breaks = LT_REQ_MEMORY, .remedy = remedy, .count = count}, "%s", what);
}

enum { HITS = 3 }; // a login may read what it wrote

static void examine(struct lt_exam *e) {
    if (!e->used)
        return;
    unsigned long long sessions = lt_exam_total(e, M_SESSIONS), writes = lt_exam_total(e, M_WRITTEN);
    unsigned long long reads = lt_exam_total(e, M_READ) + lt_exam_total(e, M_READ_MISS),
                       refused = lt_exam_total(e, M_REFUSED);
    unsigned hooked = adapters_examine(e);
    lt_exam_note(e, "%llu requests with a session; the adapter has read %llu and written %llu times", sessions, reads,
                 writes);
    if (!hooked)
        find(e, "start the application with the adapter's environment variable and LETHE_STATE_API_LISTEN: docs/stacks",
             0, "no adapter has hooked anything");
    else if (sessions && reads + writes == 0)
        find(e, "look whether it bundles its session library, or has another store: docs/stacks says what an adapter reaches",
             sessions, "the adapter is loaded, but the application keeps its sessions elsewhere");
    else if (!sessions && lt_exam_total(e, M_READ) >= HITS)
        find(e, "write the name of the application's session cookie into session.cookies", lt_exam_total(e, M_READ),
             "the adapter finds sessions, but no request came with one that lethe knows: requests of one session are "
             "not "
             "locked, and updates can be lost");
    if (refused)
        find(e, "write the application's user id into state_api.allow_uids", refused,
             "calls of another user were refused");
    if (lt_exam_total(e, M_BREAKER))
        lt_exam_found(
            e, &(struct lt_found){.urgent = true, .remedy = "look at the store itself: lethe asks again by itself"},
            "the store does not answer the state API now");
    if (writes)
        lt_exam_kept(e, LT_REQ_MEMORY, "session memory is carried: the adapter has written %llu sessions to the store",
                     writes);
    else
        lt_exam_unsure(e, LT_REQ_MEMORY, "log in once and look again", "the adapter has written no session yet");
    lt_exam_number(e, "sessions", "adapter_reads", reads);
    lt_exam_number(e, "sessions", "adapter_writes", writes);
    lt_exam_times(e, "store", "state_api_seconds", M_SECONDS);
}

#define AT(field) offsetof(struct state_conf, field)

// One row an option.
// clang-format off
static const struct lt_option options[] = {
    {.name = "profile",
     .type = LT_OPT_ENUM,
     .offset = AT(profile),
     .fallback = "",
     .choices = profiles,
     .doc = "The framework whose sessions in memory an adapter keeps here. It decides about the lock. Empty: none."},
    {.name = "lock",
     .type = LT_OPT_ENUM,
     .offset = AT(lock),
     .fallback = "auto",
     .choices = locks,
     .doc = "`exclusive`: one request at a time works on a session, across all replicas. `none`: parallel requests of "
            "one session run at the same time and the last write wins. `auto`: `none` for the profile `express`, "
            "`exclusive` for all others."},
    {.name = "listen",
     .type = LT_OPT_STRING,
     .offset = AT(listen),
     .fallback = "",
     .unit = "address",
     .check = lt_address_check,
     .doc = "Where the adapter in the application's runtime finds the state API: `unix:/path` in a directory that both "
            "see, or "
            "`127.0.0.1:port` where they share a network namespace. The adapter reads the same environment variable."},
    {.name = "max_size",
     .type = LT_OPT_SIZE,
     .offset = AT(max_size),
     .fallback = "4m",
     .min = 1024,
     .max = 32 << 20,
     .doc = "The largest session; beyond it the write is answered 413, and nothing is stored."},
    {.name = "allow_uids",
     .type = LT_OPT_LIST,
     .offset = AT(allow_uids),
     .fallback = "",
     .max = 16,
     .unit = "user ids",
     .check = check_uid,
     .doc = "Users that may use the state API's unix socket beside lethe's own and root: the application's."},
};
// clang-format on

#define OPERATIONS(op, result)                                                                                         \
    { "lethe_state_api_operations_total", "Calls of the state API.", LT_COUNTER, "op=\"" op "\",result=\"" result "\"" }

static const struct lt_metric metrics[M_COUNT] = {
    [M_READ] = OPERATIONS("read", "ok"),
    [M_READ_MISS] = OPERATIONS("read", "miss"),
    [M_WRITTEN] = OPERATIONS("write", "ok"),
    [M_CONFLICT] = OPERATIONS("write", "conflict"),
    [M_LATE] = OPERATIONS("write", "ended"),
    [M_DELETED] = OPERATIONS("delete", "ok"),
    [M_REFUSED] = OPERATIONS("any", "refused"),
    [M_HOOKED] = {"lethe_adapters_total", "What adapters in the application's runtime said.", LT_COUNTER,
                  "status=\"hooked\""},
    [M_NOT_HOOKED] = {"lethe_adapters_total", "What adapters in the application's runtime said.", LT_COUNTER,
                      "status=\"failed\""},
    [M_SESSIONS] = {"lethe_state_api_sessions_total", "Requests with a session that an adapter should read.",
                    LT_COUNTER, NULL},
    [M_SECONDS] = {"lethe_state_api_store_seconds", "One operation of the store for the state API.", LT_HISTOGRAM, NULL},
    [M_BREAKER] = {"lethe_state_api_breaker_open",
                   "1 while the state API does not ask the store because it did not answer.", LT_GAUGE, NULL},
    [M_STORE_EVENTS] = LT_STORE_EVENT_ROWS("lethe_state_api_store_events_total"),
};

const struct lt_module lt_module_state_api = {
    .name = "state_api",
    .summary = "keeps sessions that the application holds in memory, through an adapter in its runtime",
    .phase = LT_PHASE_CARRIER,
    .options = {"state_api", options, sizeof options / sizeof *options, sizeof(struct state_conf), NULL},
    .metrics = metrics,
    .n_metrics = M_COUNT,
    .worker_size = sizeof(struct state_worker),
    .state_size = sizeof(struct state_call),
    .check = check,
    .enabled = enabled,
    .exclusive = exclusive,
    .listen = listen_at,
    .worker_init = worker_init,
    .worker_fini = worker_fini,
    .on_request = on_request,
    .on_response = on_response,
    .on_done = on_done,
    .examine = examine,
};
