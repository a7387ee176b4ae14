// SPDX-License-Identifier: Apache-2.0
// Sessions in PostgreSQL: a row of the table lethe_session each, an operation one statement and one round trip (postgres_sql.h), which
// may be repeated without harm when an answer was lost. All times are the server's: the replicas' clocks need not agree.
#include "store/effort.h"
#include "store/postgres_scan.h"
#include "store/postgres_sql.h"

#include "base/clock.h"
#include "base/log.h"
#include "net/postgres.h"
#include "net/postgres_library.h"

#include <stdio.h>
#include <stdlib.h>

enum { LOAD_LOCKED = LT_STORE_KINDS, SWEEP, SCAN, STATEMENTS };
enum { AGAIN_MAX = 32, SWEEP_FIRST_MS = 2000, SWEEP_MS = 60000, SWEEP_MORE_MS = 200, SWEEP_FULL = 500 };
enum { KEY, OWNER, LEASE, TTL, LEFT, DATA, FENCE, RELEASE, CONDITION, TAG_ARG };
_Static_assert(TAG_ARG + 1 == LT_POSTGRES_ARGS, "arguments");
_Static_assert((int)STATEMENTS <= (int)LT_POSTGRES_STATEMENTS, "statements");

// clang-format off
static const char *const statements[STATEMENTS] = {
    [LT_STORE_LOAD] = load_sql,
    [LT_STORE_CREATE] = create_sql,
    [LT_STORE_SAVE] = save_sql,
    [LT_STORE_PUT] = put_sql,
    [LT_STORE_TOUCH] = touch_sql,
    [LT_STORE_END] = end_sql,
    [LT_STORE_EXPIRE] = expire_sql,
    [LT_STORE_LOCK] = lock_sql,
    [LT_STORE_RENEW] = renew_sql,
    [LT_STORE_RELEASE] = release_sql,
    [LOAD_LOCKED] = load_locked_sql,
    [SWEEP] = sweep_sql,
    [SCAN] = scan_sql,
};
// clang-format on

// pg_type.dat
enum { OID_BOOL = 16, OID_BYTEA = 17, OID_INT8 = 20, OID_TEXT = 25 };

struct postgres_store {
    struct lt_store store;
    struct lt_postgres *postgres;
    struct lt_postgres_call sweep;
    struct lt_timer sweep_timer;
    char setup[sizeof setup_sql + 24];
};

// An operation on its way, in the op's room for the driver.
struct command {
    struct lt_store_effort effort;
    struct lt_postgres_call call;
    unsigned conflicts;
    char key[LT_STORE_PREFIX_MAX + LT_TOKEN_HASH_TEXT + 2];
    char owner[(LT_STORE_OWNER * 4 + 2) / 3 + 1]; // an owner may be any bytes that a caller has sent
};
_Static_assert(sizeof(struct command) <= LT_STORE_DRIVER_ROOM, "lt_store_op.driver");

static struct command *command_of(struct lt_store_op *op) {
    return (struct command *)op->driver;
}

static struct postgres_store *store_of(const struct lt_store_op *op) {
    return (struct postgres_store *)op->store;
}

// --- a statement ---

static void set_text(struct lt_postgres_args *a, unsigned i, const char *text) {
    a->values[i] = text;
}

static void set_number(struct lt_postgres_args *a, unsigned i, int64_t number) {
    snprintf(a->texts[i], sizeof a->texts[i], "%lld", (long long)number);
    a->values[i] = a->texts[i];
}

static void fill(struct lt_postgres_call *call, struct lt_postgres_args *a) {
    struct command *command = LT_ENTRY(call, struct command, call);
    struct lt_store_op *op = command->effort.op;
    bool writes = op->kind == LT_STORE_CREATE || op->kind == LT_STORE_SAVE || op->kind == LT_STORE_PUT;
    a->statement = op->kind == LT_STORE_LOAD && op->lease ? LOAD_LOCKED : op->kind;
    set_text(a, KEY, command->key);
    set_text(a, OWNER, command->owner);
    set_number(a, LEASE, op->lease);
    set_number(a, TTL, op->ttl);
    set_number(a, LEFT, op->expires - lt_clock_wall());
    set_number(a, FENCE, op->fence > INT64_MAX ? INT64_MAX : (int64_t)op->fence);
    set_text(a, RELEASE, op->release ? "t" : "f");
    set_number(a, CONDITION, op->condition);
    set_text(a, TAG_ARG, op->tag);
    if (writes) {
        struct lt_span data = lt_buf_span(&op->data);
        a->values[DATA] = data.p ? data.p : "";
        a->lengths[DATA] = (int)data.n;
        a->formats[DATA] = 1;
    }
}

static void begin(struct lt_store_effort *effort) {
    lt_postgres_send(store_of(effort->op)->postgres, &command_of(effort->op)->call);
}

static bool cancel(struct lt_store_effort *effort) {
    return lt_postgres_cancel(store_of(effort->op)->postgres, &command_of(effort->op)->call);
}

static const struct lt_store_effort_ops effort_ops = {begin, cancel};

// --- its result ---

enum { AGAIN = LT_STORE_DOWN + 1 };

// Of a statement that has no row: there is none of its kind.
static int without_row(enum lt_store_kind kind) {
    switch (kind) {
    case LT_STORE_LOAD:
    case LT_STORE_TOUCH:
    case LT_STORE_RENEW:
        return LT_STORE_MISS;
    case LT_STORE_LOCK:
        return LT_STORE_BUSY;
    case LT_STORE_RELEASE:
    case LT_STORE_EXPIRE:
        return LT_STORE_OK;
    default:
        return AGAIN; // a row has appeared meanwhile
    }
}

static int verdict(const struct lt_store_op *op, const PGresult *r) {
    static const char *const words[] = {"ok", "miss", "ended", "busy", "fenced", "", "again"};
    if (lt_pq.PQresultStatus(r) != PGRES_TUPLES_OK)
        return LT_STORE_DOWN;
    if (lt_pq.PQntuples(r) == 0)
        return without_row(op->kind);
    struct lt_span word = lt_span(lt_pq.PQgetvalue(r, 0, 0), (size_t)lt_pq.PQgetlength(r, 0, 0));
    for (int i = 0; i < (int)(sizeof words / sizeof *words); i++)
        if (lt_span_eq(word, lt_span_cstr(words[i])))
            return i;
    return LT_STORE_DOWN;
}

// False: no memory for the data.
static bool read_row(struct lt_store_op *op, const PGresult *r) {
    if (op->kind == LT_STORE_LOAD || op->kind == LT_STORE_CREATE || op->kind == LT_STORE_PUT)
        op->fence = postgres_number(r, 0, 1);
    if (op->kind != LT_STORE_LOAD)
        return true;
    lt_buf_consume(&op->data, op->data.len);
    return lt_buf_append(&op->data, lt_span(lt_pq.PQgetvalue(r, 0, 2), (size_t)lt_pq.PQgetlength(r, 0, 2)));
}

static void log_error(const PGresult *r) {
    const char *text = lt_pq.PQresultErrorField(r, PG_DIAG_MESSAGE_PRIMARY);
    const char *state = lt_pq.PQresultErrorField(r, PG_DIAG_SQLSTATE);
    LT_LOG(LT_LOG_WARN, "store_error", lt_fs("error", text ? text : "no answer"), lt_fs("sqlstate", state ? state : ""));
}

// Serialisation and deadlocks: the server has undone it.
static bool was_undone(const PGresult *r) {
    const char *state = lt_pq.PQresultErrorField(r, PG_DIAG_SQLSTATE);
    return state && strncmp(state, "40", 2) == 0;
}

static void got_row(struct lt_store_op *op, const PGresult *r) {
    int word = was_undone(r) ? AGAIN : verdict(op, r);
    struct command *command = command_of(op);
    if (word == AGAIN && command->conflicts++ < AGAIN_MAX && lt_store_effort_has_time(&command->effort)) {
        begin(&command->effort);
        return;
    }
    if (lt_pq.PQresultStatus(r) != PGRES_TUPLES_OK)
        log_error(r);
    if (word == AGAIN || (word == LT_STORE_OK && lt_pq.PQntuples(r) && !read_row(op, r)))
        word = LT_STORE_DOWN;
    lt_store_effort_end(&command->effort, (enum lt_store_result)word);
}

static void on_answer(struct lt_postgres_call *call, enum lt_err e, const PGresult *r) {
    struct command *command = LT_ENTRY(call, struct command, call);
    if (r)
        got_row(command->effort.op, r);
    else
        lt_store_effort_failed(&command->effort, e);
}

// --- what is over ---

static void fill_sweep(struct lt_postgres_call *call, struct lt_postgres_args *a) {
    (void)call;
    a->statement = SWEEP;
}

static void on_swept(struct lt_postgres_call *call, enum lt_err e, const PGresult *r) {
    struct postgres_store *p = LT_ENTRY(call, struct postgres_store, sweep);
    if (e == LT_ERR_CANCELED)
        return;
    bool rows = r && lt_pq.PQresultStatus(r) == PGRES_TUPLES_OK && lt_pq.PQntuples(r) == 1;
    if (r && !rows)
        log_error(r);
    lt_timer_set(p->store.loop, &p->sweep_timer,
                 rows && postgres_number(r, 0, 1) >= SWEEP_FULL ? SWEEP_MORE_MS : SWEEP_MS);
}

static void on_sweep(struct lt_timer *t) {
    struct postgres_store *p = LT_ENTRY(t, struct postgres_store, sweep_timer);
    if (lt_postgres_is_ready(p->postgres))
        lt_postgres_send(p->postgres, &p->sweep);
    else
        lt_timer_set(p->store.loop, t, SWEEP_MS);
}

// --- the store ---

static void submit(struct lt_store *s, struct lt_store_op *op) {
    struct postgres_store *p = (struct postgres_store *)s;
    struct command *command = command_of(op);
    *command = (struct command){.call = {.fill = fill, .done = on_answer}};
    snprintf(command->key, sizeof command->key, "%s:%s", s->prefix, op->hash);
    lt_base64url_encode(op->owner, strlen(op->owner), command->owner);
    if (!p->sweep.done) {
        p->sweep = (struct lt_postgres_call){.fill = fill_sweep, .done = on_swept};
        lt_timer_set(s->loop, &p->sweep_timer, SWEEP_FIRST_MS);
    }
    lt_store_effort_begin(&command->effort, op, &effort_ops);
}

static struct lt_store *open_store(const struct lt_store_options *o) {
    struct postgres_store *p = calloc(1, sizeof *p);
    if (!p)
        return NULL;
    snprintf(p->setup, sizeof p->setup, setup_sql, (long long)o->timeout);
    lt_timer_init(&p->sweep_timer, on_sweep);
    p->postgres = lt_postgres_new(o->loop, &(struct lt_postgres_options){
                                               .url = o->url,
                                               .timeout = o->timeout,
                                               .setup = p->setup,
                                               .statements = statements,
                                               .n = STATEMENTS,
                                               .types = {OID_TEXT, OID_TEXT, OID_INT8, OID_INT8, OID_INT8, OID_BYTEA,
                                                         OID_INT8, OID_BOOL, OID_INT8, OID_TEXT},
                                           });
    if (p->postgres) {
        lt_postgres_on_breaker(p->postgres, lt_store_effort_on_breaker, &p->store);
        return &p->store;
    }
    free(p);
    return NULL;
}

static void close_store(struct lt_store *s) {
    struct postgres_store *p = (struct postgres_store *)s;
    lt_postgres_free(p->postgres);
    lt_timer_clear(s->loop, &p->sweep_timer);
    free(p);
}

static const char *check(struct lt_span url) {
    const char *missing = lt_pq_load();
    if (missing)
        return missing;
    return lt_postgres_check(url)
               ? NULL
               : "write \"postgres://user:password@host:5432/database\", or by a unix socket "
                 "\"postgres://user@/database?host=/run/postgresql\"; percent-encode what is no letter";
}

static void scan(struct lt_store *s, struct lt_store_scan *scan_) {
    postgres_scan_begin(((struct postgres_store *)s)->postgres, SCAN, s, scan_);
}

static bool breaker_is_open(const struct lt_store *s) {
    return lt_postgres_is_open(((const struct postgres_store *)s)->postgres);
}

const struct lt_store_driver lt_store_postgres = {
    .scheme = "postgres", // postgres://, postgresql://
    .check = check,
    .open = open_store,
    .close = close_store,
    .submit = submit,
    .breaker_is_open = breaker_is_open,
    .scan = scan,
};
