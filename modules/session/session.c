// SPDX-License-Identifier: Apache-2.0
#include "modules/session/session.h"

#include "crypto/keys.h"
#include "modules/session/names.h"
#include "modules/session/state.h"

#define AT(field) offsetof(struct session_conf, field)
#define SECOND 1000
#define HOUR (3600 * (int64_t)SECOND)

static const char *check_name(struct lt_span name) {
    return lt_token_ok(name) && !lt_span_starts(name, LT_S("__")) && name.n <= CLIENT_NAME_MAX
               ? NULL
               : "write a cookie name of up to 64 characters such as \"lethe\"";
}

static const char *check_prefix(struct lt_span prefix) {
    for (size_t i = 0; i < prefix.n; i++)
        if ((unsigned char)prefix.p[i] <= ' ' || prefix.p[i] == '{' || prefix.p[i] == '}')
            return "write a word without blanks or braces such as \"lethe\"";
    return prefix.n && prefix.n <= 48 ? NULL : "write 1 to 48 characters such as \"lethe\"";
}

// "name", "prefix*" or "*".
static const char *check_cookie(struct lt_span name) {
    struct lt_span bare = name.n && name.p[name.n - 1] == '*' ? lt_span(name.p, name.n - 1) : name;
    return name.n && (bare.n == 0 || lt_token_ok(bare)) ? NULL : "write a cookie's name, \"prefix*\", or \"*\" for all";
}

static const char *check_exempt(struct lt_span path) {
    return path.n && (path.p[0] == '/' || path.p[0] == '*') ? NULL : "write \"/static/*\", \"*.css\" or \"/exact/path\"";
}

static const char *const on_outage[] = {"reject", "sealed", "anonymous", NULL};

// One row an option.
// clang-format off
static const struct lt_option options[] = {
    {.name = "cookies",
     .type = LT_OPT_LIST,
     .offset = AT(cookies),
     .fallback = SESSION_COOKIE_NAMES,
     .min = 1,
     .max = 64,
     .unit = "names",
     .check = check_cookie,
     .doc = "The application's session cookies: `name`, `prefix*`, or `*` for all its cookies. They stay on the "
            "server; the client "
            "gets one opaque token instead. What is written here takes the place of the default list."},
    {.name = "ignore_cookies",
     .type = LT_OPT_LIST,
     .offset = AT(ignore_cookies),
     .fallback = "",
     .max = 64,
     .unit = "names",
     .check = check_cookie,
     .doc = "Cookies that look like a session's and are none: `name` or `prefix*`. `lethe doctor` does not ask about them."},
    {.name = "idle_ttl",
     .type = LT_OPT_DURATION,
     .offset = AT(idle_ttl),
     .fallback = "30m",
     .min = SECOND,
     .max = 400 * 24 * HOUR,
     .doc = "A session that was not used for this long is over."},
    {.name = "absolute_ttl",
     .type = LT_OPT_DURATION,
     .offset = AT(absolute_ttl),
     .fallback = "12h",
     .min = SECOND,
     .max = 400 * 24 * HOUR,
     .doc = "A session is over this long after its beginning, used or not."},
    {.name = "rotate_grace",
     .type = LT_OPT_DURATION,
     .offset = AT(rotate_grace),
     .fallback = "30s",
     .min = 1,
     .max = HOUR,
     .doc = "When the application gives a session a new id (at login), how long the old token still leads to the old "
            "id: for requests "
            "that are on their way."},
    {.name = "cookie_name",
     .type = LT_OPT_STRING,
     .offset = AT(cookie_name),
     .fallback = "lethe",
     .unit = "name",
     .check = check_name,
     .doc = "The name of lethe's own cookie; over HTTPS it gets the prefix `__Host-`."},
    {.name = "exempt",
     .type = LT_OPT_LIST,
     .offset = AT(exempt),
     .fallback = "",
     .max = 64,
     .unit = "paths",
     .check = check_exempt,
     .doc = "Paths that never need the session (`/static/*`, `*.css`): no look-up, no lock, no session cookie in "
            "either direction."},
    {.name = "lock_ttl",
     .type = LT_OPT_DURATION,
     .offset = AT(lock_ttl),
     .fallback = "15s",
     .min = 300,
     .max = HOUR,
     .doc = "With a state carrier, one request at a time works on a session. The lease is renewed while the request "
            "runs; after a crash "
            "of its holder the next one waits at most this long."},
    {.name = "lock_wait",
     .type = LT_OPT_DURATION,
     .offset = AT(lock_wait),
     .fallback = "30s",
     .min = 0,
     .max = HOUR,
     .doc = "How long a request waits for its turn; then 503, never an unlocked run."},
    {.name = "store_timeout",
     .type = LT_OPT_DURATION,
     .offset = AT(store_timeout),
     .fallback = "900ms",
     .min = 10,
     .max = 60 * SECOND,
     .doc = "How long one operation of the store may take, connecting included; then 503."},
    {.name = "prefix",
     .type = LT_OPT_STRING,
     .offset = AT(prefix),
     .fallback = "lethe",
     .unit = "word",
     .check = check_prefix,
     .doc = "Begins every key in Redis, and sets the applications of one Redis apart: a token of one is nothing to "
            "another."},
    {.name = "client_max",
     .type = LT_OPT_SIZE,
     .offset = AT(client_max),
     .fallback = "16k",
     .min = 1024,
     .max = CLIENT_PARTS * (CLIENT_PART - 2),
     .doc =
         "Where the client holds the session (`store` is `sealed` or `jwt`): its largest size. Over 3,900 bytes it is "
         "cut "
         "into several cookies, nine at the most; beyond this limit, or three quarters of `limits.head`, the answer "
         "fails with 503. "
         "Every request carries it, so all proxies before lethe must take heads of that size."},
    {.name = "revocations",
     .type = LT_OPT_STRING,
     .offset = AT(revocations),
     .fallback = "",
     .secret = true,
     .unit = "URL",
     .doc = "Where the client holds the session: a Redis (a URL as in `store`) that keeps the ids of ended sessions, "
            "so that "
            "a logout reaches copies of the cookie, too. It is asked on each request with a session. While it is away, "
            "those are answered 503, as with sessions in Redis; requests without a session go on. Empty: a copy of the "
            "cookie outlives the logout until its time is over."},
    {.name = "on_outage",
     .type = LT_OPT_ENUM,
     .offset = AT(on_outage),
     .fallback = "reject",
     .choices = on_outage,
     .doc =
         "While Redis is away. `reject`: a request with a session is answered 503, and so is an answer that begins "
         "one. "
         "`sealed`: a new session goes into an encrypted cookie and moves into Redis with its first request after the "
         "outage; those that are in Redis are still 503. `anonymous`: a `GET` or `HEAD` with a session goes on without "
         "it; the client keeps its cookie, and session cookies that the application sets meanwhile are dropped. The "
         "client then sees pages of somebody who is not logged in. With a state carrier only `reject` is possible."},
};
// clang-format on

#define SESSIONS(event)                                                                                                \
    { "lethe_sessions_total", "Sessions by what happened to them.", LT_COUNTER, "event=\"" event "\"" }

static const struct lt_metric metrics[M_COUNT] = {
    [M_CREATED] = SESSIONS("created"),
    [M_LOADED] = SESSIONS("loaded"),
    [M_MISSING] = SESSIONS("missing"),
    [M_ROTATED] = SESSIONS("rotated"),
    [M_ENDED] = SESSIONS("ended"),
    [M_LOST] = SESSIONS("lost"),
    [M_LOCK_WAITED] = SESSIONS("lock_waited"),
    [M_LOCK_TIMEOUT] = SESSIONS("lock_timeout"),
    [M_FENCED] = SESSIONS("fenced"),
    [M_REVOKED] = SESSIONS("revoked"),
    [M_OUTAGE_SEALED] = SESSIONS("outage_sealed"),
    [M_OUTAGE_MOVED] = SESSIONS("outage_moved"),
    [M_OUTAGE_ANONYMOUS] = SESSIONS("outage_anonymous"),
    [M_STORE_SECONDS] = {"lethe_store_seconds", "One operation of the session store.", LT_HISTOGRAM, NULL},
    [M_BREAKER] = {"lethe_store_breaker_open", "1 while the store is not asked because it did not answer.", LT_GAUGE,
                   NULL},
    [M_STORE_EVENTS] = LT_STORE_EVENT_ROWS("lethe_store_events_total"),
};

static void check_client_held(const struct session_conf *conf, struct lt_diag *diag) {
    if (conf->on_outage != OUTAGE_REJECT)
        lt_diag_add(diag, "session.on_outage: there is no store that could be away; leave it out, or write \"--store "
                          "redis://host:port/0\"");
    if (conf->revocations.n == 0)
        return;
    bool held = lt_store_is_client_held(conf->revocations);
    const char *advice = held ? "write \"redis://host:6379/0\"" : lt_store_check(conf->revocations);
    if (advice)
        lt_diag_add(diag, "session.revocations: %s", advice);
}

static void check(const struct lt_config *config, struct lt_diag *diag) {
    const struct session_conf *conf = lt_config_group(config, "session");
    struct lt_span keys = lt_config_text(config, "keys"), url = lt_config_text(config, "store");
    struct lt_key_ring ring;
    char error[512];
    const char *advice = lt_store_check(url);
    if (advice)
        lt_diag_add(diag, "store: %s", advice);
    if (keys.n && !lt_keys_load(&ring, keys, error, sizeof error))
        lt_diag_add(diag, "keys: %s", error);
    else if (keys.n)
        lt_key_ring_wipe(&ring);
    if (lt_store_is_client_held(url))
        check_client_held(conf, diag);
    else if (conf->revocations.n)
        lt_diag_add(diag,
                    "session.revocations: sessions in Redis need none; leave it out, or write store = \"sealed\" or "
                    "\"jwt\"");
}

// The name under which the store knows a token; the first one of an exchange also makes the owner of its locks.
bool session_name(struct lt_call *c, struct token_name *name) {
    struct session_call *st = c->state;
    uint8_t random[24];
    lt_token_hash(&name->token, session_conf(c)->prefix, name->hash);
    if (st->owner[0] || !session_worker(c)->services->exclusive)
        return true;
    if (!lt_random(random, sizeof random))
        return false;
    lt_base64url_encode(random, sizeof random, st->owner);
    return true;
}

// What is more than three quarters of a request's head would not come back.
static size_t client_max(const struct lt_config *config, const struct session_conf *conf) {
    int64_t head = lt_config_number(config, "limits.head") / 4 * 3;
    return (size_t)(head && head < conf->client_max ? head : conf->client_max);
}

static struct lt_store *open_store(struct session_worker *w, struct lt_span url) {
    return lt_store_new(&(struct lt_store_options){
        .loop = w->services->loop,
        .url = url,
        .prefix = w->conf->prefix,
        .timeout = w->conf->store_timeout,
        .metrics = w->services->metrics,
        .seconds_row = M_STORE_SECONDS,
        .breaker_row = M_BREAKER,
        .events_row = M_STORE_EVENTS,
        .config = w->services->config,
    });
}

static bool open_keys(struct session_worker *w, const struct lt_config *config, bool client_held) {
    struct lt_span keys = lt_config_text(config, "keys");
    char error[512] = "no randomness";
    bool ok = keys.n ? lt_keys_load(&w->ring, keys, error, sizeof error) : lt_keys_default(&w->ring, client_held);
    if (ok && jwt_is_store(config))
        ok = jwt_init(&w->jwt, lt_config_group(config, "jwt"), &w->ring, error, sizeof error);
    if (!ok)
        LT_LOG(LT_LOG_ERROR, "keys_failed", lt_fs("why", error));
    return ok;
}

static void close_all(struct session_worker *w) {
    lt_store_free(w->store);
    lt_store_free(w->revocations);
    jwt_fini(&w->jwt);
    lt_key_ring_wipe(&w->ring);
}

static bool worker_init(void *worker, const void *conf, const struct lt_services *services) {
    struct session_worker *w = worker;
    struct lt_span url = lt_config_text(services->config, "store");
    bool client_held = lt_store_is_client_held(url);
    w->services = services;
    w->conf = conf;
    w->client_max = client_max(services->config, conf);
    w->sessions.begin = session_later;
    lock_queue_init(&w->queue);
    bool ok = open_keys(w, services->config, client_held);
    if (ok && !client_held)
        ok = (w->store = open_store(w, url)) != NULL;
    if (ok && w->conf->revocations.n)
        ok = (w->revocations = open_store(w, w->conf->revocations)) != NULL;
    if (!ok)
        close_all(w);
    return ok;
}

static void worker_fini(void *worker) {
    close_all(worker);
}

static void on_done(struct lt_call *c) {
    struct session_call *st = c->state;
    if (!st || !st->call)
        return;
    session_lease_end(c);
    session_abandon(c);
    lt_store_op_free(st->op);
    session_unlock(c);
    lock_leave(&session_worker(c)->queue, &st->place);
    lt_record_free(st->session.record);
    lt_record_free(st->session.previous);
}

const struct lt_module lt_module_session = {
    .name = "session",
    .summary = "replaces the application's session cookies by a token, and keeps what it stands for in a store",
    .phase = LT_PHASE_STATE,
    .options = {"session", options, sizeof options / sizeof *options, sizeof(struct session_conf), NULL},
    .metrics = metrics,
    .n_metrics = M_COUNT,
    .worker_size = sizeof(struct session_worker),
    .state_size = sizeof(struct session_call),
    .check = check,
    .worker_init = worker_init,
    .worker_fini = worker_fini,
    .on_request = session_on_request,
    .on_response = session_on_response,
    .on_end = session_on_end,
    .on_done = on_done,
    .examine = session_examine,
};
