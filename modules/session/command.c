// SPDX-License-Identifier: Apache-2.0
// A loop and a store of its own, beside the running ones: what it writes takes effect with the next request on whichever replica, since each looks
// into the store.
#include "modules/session/command.h"

#include "base/clock.h"
#include "crypto/keys.h"
#include "modules/session/state.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

struct run {
    const struct lt_config *config;
    const struct session_conf *conf;
    const struct session_command *command;
    struct lt_loop loop;
    struct lt_metrics metrics;
    struct lt_store *store;
    struct lt_store_scan scan;
    struct lt_store_op *op;
    char wanted[LT_TOKEN_HASH_TEXT + 1], tag[LT_TOKEN_HASH_TEXT + 1];
    char (*found)[LT_TOKEN_HASH_TEXT + 1]; // to be revoked
    unsigned n, cap, at;
    enum lt_store_result result;
};

static const struct lt_metric rows[] = {
    {"seconds", "", LT_HISTOGRAM, NULL},
    {"open", "", LT_GAUGE, NULL},
};

static void on_op(struct lt_store_op *op) {
    struct run *r = op->user;
    r->result = op->result;
    lt_loop_stop(&r->loop);
}

// One operation, waited for.
static enum lt_store_result do_op(struct run *r, enum lt_store_kind kind, const char *hash) {
    lt_store_op_free(r->op);
    r->op = lt_store_op_new(kind);
    if (!r->op)
        return LT_STORE_DOWN;
    snprintf(r->op->hash, sizeof r->op->hash, "%s", hash);
    r->op->ttl = kind == LT_STORE_END ? r->conf->absolute_ttl : 1;
    r->op->done = on_op;
    r->op->user = r;
    lt_store_submit(r->store, r->op);
    lt_loop_run(&r->loop);
    return r->result;
}

static int away(void) {
    fprintf(stderr, "lethe: session: the store does not answer, or refuses; see that it runs, and that --store "
                    "names it with its user, password and database\n");
    return 1;
}

static int impossible(const char *what) {
    fprintf(stderr, "lethe: session: %s\n", what);
    return 2;
}

static int unknown(void) {
    fprintf(stderr, "lethe: session: there is no such session; \"lethe session list\" shows those that there are\n");
    return 1;
}

// --- list ---

static void span_text(int64_t ms, char out[32]) {
    if (ms >= 3600 * 1000)
        snprintf(out, 32, "%lldh%02lldm", (long long)ms / 3600000, (long long)ms / 60000 % 60);
    else
        snprintf(out, 32, "%lldm%02llds", (long long)ms / 60000, (long long)ms / 1000 % 60);
}

static bool is_wanted(const struct run *r, const struct lt_store_row *row) {
    if (r->wanted[0])
        return strcmp(row->hash, r->wanted) == 0;
    return !r->tag[0] || strcmp(row->tag, r->tag) == 0;
}

static void print_row(const struct lt_store_row *row) {
    char idle[32], left[32];
    int64_t end = row->expires - lt_clock_wall();
    span_text(row->ttl > 0 ? row->ttl : 0, idle);
    span_text(end > 0 ? end : 0, left);
    printf("%s  %-7s %10s %10s %8zu\n", row->hash,
           row->size == 0 ? "ended"
           : row->locked  ? "locked"
                          : "active",
           idle, row->size ? left : "-", row->size);
}

static void on_row(struct lt_store_scan *scan, const struct lt_store_row *row) {
    struct run *r = LT_ENTRY(scan, struct run, scan);
    if (!is_wanted(r, row))
        return;
    if (r->command->verb != SESSION_REVOKE) {
        r->n++;
        print_row(row);
        return;
    }
    if (row->size == 0)
        return;
    if (r->n == r->cap) {
        unsigned cap = r->cap ? 2 * r->cap : 64;
        void *more = realloc(r->found, cap * sizeof *r->found);
        if (!more)
            return;
        r->found = more;
        r->cap = cap;
    }
    memcpy(r->found[r->n++], row->hash, sizeof row->hash);
}

static void on_scanned(struct lt_store_scan *scan, enum lt_store_result result) {
    struct run *r = LT_ENTRY(scan, struct run, scan);
    r->result = result;
    lt_loop_stop(&r->loop);
}

// All rows that are wanted go through on_row().
static int scan(struct run *r) {
    r->scan = (struct lt_store_scan){.found = on_row, .done = on_scanned};
    if (!lt_store_scan(r->store, &r->scan))
        return impossible(
            "this kind of store cannot list what it has; name the session by its hash or its client's token");
    lt_loop_run(&r->loop);
    return r->result == LT_STORE_OK ? 0 : away();
}

static int list(struct run *r) {
    printf("%-43s  %-7s %10s %10s %8s\n", "hash", "state", "idle for", "at most", "bytes");
    return scan(r);
}

// --- show ---

static void print_time(const char *what, int64_t wall) {
    char text[32];
    time_t seconds = (time_t)(wall / 1000);
    struct tm tm;
    gmtime_r(&seconds, &tm);
    strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", &tm);
    printf("%-10s %s\n", what, text);
}

static void print_record(const struct lt_record *record) {
    print_time("begun", record->created);
    print_time("used", record->used);
    for (unsigned i = 0; i < record->n_cookies; i++)
        printf("cookie     %.*s=%.*s\n", (int)record->cookies[i].name.n, record->cookies[i].name.p,
               (int)record->cookies[i].value.n, record->cookies[i].value.n ? record->cookies[i].value.p : "");
    for (unsigned i = 0; i < record->n_contents; i++)
        printf("content    %.*s, %zu bytes\n", (int)record->contents[i].name.n, record->contents[i].name.p,
               record->contents[i].bytes.n);
}

// With the client's token and the ring: the record itself. Looking does not prolong it: the operation's time to live is 1 ms.
static int open_record(struct run *r) {
    struct session_worker w = {.conf = r->conf};
    struct token_name name;
    struct lt_span keys = lt_config_text(r->config, "keys");
    char error[512];
    if (!lt_token_parse(lt_span_cstr(r->command->token), &name.token))
        return impossible("--token: this is no token; write the value of the client's cookie");
    if (!(keys.n ? lt_keys_load(&w.ring, keys, error, sizeof error) : lt_keys_default(&w.ring, false)))
        return impossible(error);
    lt_token_hash(&name.token, r->conf->prefix, name.hash);
    enum lt_store_result result = do_op(r, LT_STORE_LOAD, name.hash);
    struct lt_record *record = result == LT_STORE_OK ? session_unseal(&w, &name, lt_buf_span(&r->op->data)) : NULL;
    lt_key_ring_wipe(&w.ring);
    if (result == LT_STORE_DOWN)
        return away();
    if (result != LT_STORE_OK)
        return unknown();
    if (!record)
        return impossible("the record does not open: --keys must hold the key that sealed it");
    print_record(record);
    lt_record_free(record);
    return 0;
}

static int show(struct run *r) {
    if (!r->wanted[0] && !r->tag[0])
        return impossible("show: which one? write its hash, --token TOKEN, or --cookie NAME=VALUE");
    int code = list(r);
    if (code == 0 && r->n == 0)
        return unknown();
    return code == 0 && r->command->token ? open_record(r) : code;
}

// --- revoke ---

static int revoke_found(struct run *r) {
    unsigned done = 0;
    for (unsigned i = 0; i < r->n; i++) {
        if (do_op(r, LT_STORE_END, r->found[i]) == LT_STORE_DOWN)
            return away();
        done++;
    }
    printf("%u session%s ended; the next request of each, on whichever replica, has none\n", done, done == 1 ? "" : "s");
    return done ? 0 : unknown();
}

static int revoke(struct run *r) {
    if (r->wanted[0]) { // a store that cannot list can do this
        enum lt_store_result there = do_op(r, LT_STORE_TOUCH, r->wanted);
        if (there == LT_STORE_DOWN)
            return away();
        if (there != LT_STORE_OK)
            return unknown();
        r->found = calloc(1, sizeof *r->found);
        if (r->found)
            memcpy(r->found[r->n++], r->wanted, sizeof r->wanted);
        return revoke_found(r);
    }
    if (!r->tag[0] && !r->command->all)
        return impossible("revoke: which? write a hash, --token TOKEN, --cookie NAME=VALUE, or --all for every session "
                          "of session.prefix");
    int code = scan(r);
    return code == 0 ? revoke_found(r) : code;
}

// --- the command ---

// Which session is meant. False: said.
static bool choose(struct run *r) {
    const struct session_command *command = r->command;
    struct lt_token token;
    if (command->hash)
        snprintf(r->wanted, sizeof r->wanted, "%s", command->hash);
    if (command->token && lt_token_parse(lt_span_cstr(command->token), &token))
        lt_token_hash(&token, r->conf->prefix, r->wanted);
    else if (command->token) {
        impossible("--token: this is no token; write the value of the client's cookie");
        return false;
    }
    const char *equals = command->cookie ? strchr(command->cookie, '=') : NULL;
    if (command->cookie && !equals) {
        impossible("--cookie: write the application's cookie as NAME=VALUE");
        return false;
    }
    if (equals)
        lt_secret_hash(lt_span_cstr(equals + 1), "tag", r->conf->prefix, r->tag);
    return true;
}

static int run_verb(struct run *r) {
    static int (*const verbs[])(struct run *) = {list, show, revoke};
    static const char nobody[LT_TOKEN_HASH_TEXT + 1] = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
    if (do_op(r, LT_STORE_TOUCH, nobody) == LT_STORE_DOWN) // connects, and finds out where things are
        return away();
    return verbs[r->command->verb](r);
}

int session_command_run(const struct lt_config *config, const struct session_command *command) {
    struct run r = {.config = config, .conf = lt_config_group(config, "session"), .command = command};
    struct lt_span url = lt_config_text(config, "store");
    const char *advice = lt_store_check(url);
    if (advice)
        return impossible(advice);
    if (lt_store_is_client_held(url))
        return impossible("these sessions are with their clients, not in a store (see session.revocations); if "
                          "they are in one, write --store as the replicas have it, or -c and their file");
    if (!choose(&r))
        return 2;
    lt_log_setup(LT_LOG_ERROR, LT_LOG_TEXT);
    if (lt_loop_init(&r.loop) != LT_OK || !lt_metrics_init(&r.metrics, rows, sizeof rows / sizeof *rows))
        return 1;
    r.store = lt_store_new(&(struct lt_store_options){
        .loop = &r.loop,
        .url = url,
        .prefix = r.conf->prefix,
        .timeout = r.conf->store_timeout,
        .metrics = &r.metrics,
        .breaker_row = 1,
        .config = config,
    });
    int code = r.store ? run_verb(&r) : 1;
    lt_store_op_free(r.op);
    lt_store_free(r.store);
    lt_loop_settle(&r.loop);
    lt_metrics_fini(&r.metrics);
    lt_loop_fini(&r.loop);
    free(r.found);
    return code;
}
