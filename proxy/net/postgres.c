// SPDX-License-Identifier: Apache-2.0
//
//   DIALING ──▶ SETTING_UP ──▶ PREPARING ──▶ RUNNING          (all but the last are the link's CONNECTING)
//   PQconnectPoll  o->setup      pipeline: all statements
//
// libpq changes sockets while it dials (several hosts, TLS refused), so one event stands for one question of PQconnectPoll().
#include "net/postgres.h"

#include "base/log.h"
#include "net/postgres_conninfo.h"
#include "net/postgres_library.h"

#include <openssl/ssl.h>
#include <stdio.h>
#include <stdlib.h>

enum phase { DIALING, SETTING_UP, PREPARING, RUNNING };

struct lt_postgres {
    struct lt_link link;
    struct lt_postgres_options options;
    struct lt_pg_conninfo *info;
    PGconn *conn; // NULL: none
    enum phase phase;
    struct event read_event, write_event;
    bool reading, writing; // events that were made
    bool refused;          // SETTING_UP, PREPARING: the server has said no
    unsigned turn;
    PGresult *answer; // of the statement whose end has not come yet
    char said[200];   // the last complaint in the log
};

static struct lt_postgres *of_link(struct lt_link *l) {
    return LT_ENTRY(l, struct lt_postgres, link);
}

// --- log ---

// libpq's messages have several lines and name the host and the user, never the password.
static void complain(struct lt_postgres *p, const char *message) {
    size_t n = strcspn(message, "\n");
    if (n >= sizeof p->said)
        n = sizeof p->said - 1;
    if (strncmp(p->said, message, n) == 0 && p->said[n] == '\0')
        return; // it has been said
    memcpy(p->said, message, n);
    p->said[n] = '\0';
    LT_LOG(LT_LOG_WARN, "postgres_refuses", lt_fs("address", p->link.where), lt_fs("error", p->said));
}

static void on_notice(void *arg, const PGresult *r) {
    (void)arg;
    (void)r;
}

// --- events ---

static void on_ready_fd(evutil_socket_t fd, short what, void *arg);

static void drop_events(struct lt_postgres *p) {
    if (p->reading)
        event_del(&p->read_event);
    if (p->writing)
        event_del(&p->write_event);
    p->reading = p->writing = false;
}

static void want_write(struct lt_postgres *p, bool want) {
    if (p->writing == want)
        return;
    p->writing = want;
    if (want)
        event_add(&p->write_event, NULL);
    else
        event_del(&p->write_event);
}

static void await_dialing(struct lt_postgres *p, PostgresPollingStatusType next) {
    int fd = lt_pq.PQsocket(p->conn);
    if (next == PGRES_POLLING_READING) {
        event_assign(&p->read_event, p->link.loop->base, fd, EV_READ, on_ready_fd, p);
        p->reading = event_add(&p->read_event, NULL) == 0;
    } else {
        event_assign(&p->write_event, p->link.loop->base, fd, EV_WRITE, on_ready_fd, p);
        p->writing = event_add(&p->write_event, NULL) == 0;
    }
}

// The rest of what is queued goes out when the kernel takes it. False: the connection is broken.
static bool flush_out(struct lt_postgres *p) {
    int left = lt_pq.PQflush(p->conn);
    if (left >= 0)
        want_write(p, left > 0);
    return left >= 0;
}

// --- connecting ---

static enum lt_err begin_connect(struct lt_link *l) {
    struct lt_postgres *p = of_link(l);
    struct lt_pg_parameters *parameters = malloc(sizeof *parameters);
    enum lt_err e = parameters ? lt_pg_conninfo_parameters(p->info, p->turn++, parameters) : LT_ERR_MEMORY;
    if (e == LT_OK) {
        p->conn = lt_pq.PQconnectStartParams(parameters->keys, parameters->values, 0);
        e = p->conn ? LT_OK : LT_ERR_MEMORY;
    }
    free(parameters);
    if (e != LT_OK)
        return e;
    if (lt_pq.PQstatus(p->conn) == CONNECTION_BAD) {
        complain(p, lt_pq.PQerrorMessage(p->conn));
        return LT_ERR_REFUSED;
    }
    p->phase = DIALING;
    p->refused = false;
    lt_pq.PQsetNoticeReceiver(p->conn, on_notice, NULL);
    await_dialing(p, PGRES_POLLING_WRITING);
    return LT_OK;
}

static void disconnect(struct lt_link *l) {
    struct lt_postgres *p = of_link(l);
    drop_events(p);
    lt_pq.PQclear(p->answer);
    p->answer = NULL;
    if (p->conn)
        lt_pq.PQfinish(p->conn);
    p->conn = NULL;
}

static void set_up(struct lt_postgres *p) {
    int fd = lt_pq.PQsocket(p->conn);
    p->phase = SETTING_UP;
    event_assign(&p->read_event, p->link.loop->base, fd, EV_READ | EV_PERSIST, on_ready_fd, p);
    event_assign(&p->write_event, p->link.loop->base, fd, EV_WRITE | EV_PERSIST, on_ready_fd, p);
    p->reading = event_add(&p->read_event, NULL) == 0;
    if (lt_pq.PQsetnonblocking(p->conn, 1) != 0 || !lt_pq.PQsendQuery(p->conn, p->options.setup) || !flush_out(p))
        lt_link_failed(&p->link, LT_ERR_IO);
}

static void dial(struct lt_postgres *p) {
    drop_events(p);
    PostgresPollingStatusType next = lt_pq.PQconnectPoll(p->conn);
    if (next == PGRES_POLLING_OK) {
        set_up(p);
    } else if (next == PGRES_POLLING_FAILED) {
        complain(p, lt_pq.PQerrorMessage(p->conn));
        lt_link_failed(&p->link, LT_ERR_REFUSED);
    } else {
        await_dialing(p, next);
    }
}

static bool prepare(struct lt_postgres *p) {
    char name[16];
    p->phase = PREPARING;
    if (!lt_pq.PQenterPipelineMode(p->conn))
        return false;
    for (unsigned i = 0; i < p->options.n; i++) {
        snprintf(name, sizeof name, "lethe%u", i);
        if (!lt_pq.PQsendPrepare(p->conn, name, p->options.statements[i], LT_POSTGRES_ARGS, p->options.types))
            return false;
    }
    return lt_pq.PQpipelineSync(p->conn) && flush_out(p);
}

static bool is_error(const PGresult *r) {
    ExecStatusType status = lt_pq.PQresultStatus(r);
    return status != PGRES_TUPLES_OK && status != PGRES_COMMAND_OK && status != PGRES_PIPELINE_SYNC &&
           status != PGRES_PIPELINE_ABORTED;
}

// What a new connection hears until it can be used. `r` NULL: the end of one question.
static void greeted(struct lt_postgres *p, const PGresult *r) {
    if (r && is_error(r)) {
        complain(p, lt_pq.PQresultErrorMessage(r));
        p->refused = true;
    } else if (p->refused && (!r || lt_pq.PQresultStatus(r) == PGRES_PIPELINE_SYNC)) {
        lt_link_failed(&p->link, LT_ERR_REFUSED);
    } else if (!r && p->phase == SETTING_UP) {
        if (!prepare(p))
            lt_link_failed(&p->link, LT_ERR_IO);
    } else if (r && lt_pq.PQresultStatus(r) == PGRES_PIPELINE_SYNC) {
        p->phase = RUNNING;
        p->said[0] = '\0';
        lt_link_ready(&p->link);
    }
}

// --- statements ---

static bool has_state(const PGresult *r, const char *const *states, unsigned n) {
    const char *state = lt_pq.PQresultErrorField(r, PG_DIAG_SQLSTATE);
    for (unsigned i = 0; state && i < n; i++)
        if (strncmp(state, states[i], strlen(states[i])) == 0)
            return true;
    return false;
}

// The server ends the connection: a restart, a fail-over, an administrator.
static bool is_of_end(const PGresult *r) {
    static const char *const states[] = {"08", "57P"};
    return !lt_pq.PQresultErrorField(r, PG_DIAG_SQLSTATE) || has_state(r, states, 2);
}

// Read only, not prepared, no table: a new connection may lead to another server, and begins with the set-up and all statements.
static bool is_of_connection(const PGresult *r) {
    static const char *const states[] = {"25006", "26000", "42P01"};
    return has_state(r, states, 3);
}

// Behind the end of a statement: its answer goes to who waits for it.
static void answered(struct lt_postgres *p) {
    PGresult *r = p->answer;
    struct lt_link_call *waits = r ? lt_link_take(&p->link) : NULL;
    p->answer = NULL;
    if (!waits) {
        lt_link_failed(&p->link, LT_ERR_PROTOCOL);
    } else {
        struct lt_postgres_call *call = LT_ENTRY(waits, struct lt_postgres_call, link);
        call->done(call, LT_OK, r);
    }
    lt_pq.PQclear(r);
}

static void got(struct lt_postgres *p, PGresult *r) {
    if (p->phase != RUNNING) {
        greeted(p, r);
        lt_pq.PQclear(r);
    } else if (r && lt_pq.PQresultStatus(r) == PGRES_PIPELINE_SYNC) {
        lt_pq.PQclear(r);
        answered(p);
    } else if (r && is_error(r) && is_of_end(r)) {
        lt_pq.PQclear(r);
        lt_link_lost(&p->link, LT_ERR_RESET);
    } else if (r && is_error(r) && is_of_connection(r)) {
        complain(p, lt_pq.PQresultErrorMessage(r));
        lt_pq.PQclear(r);
        lt_link_failed(&p->link, LT_ERR_RESET);
    } else if (r) {
        lt_pq.PQclear(p->answer);
        p->answer = r;
    }
}

// libpq reads no further than its buffer; what TLS has deciphered beyond that makes no socket readable.
static bool has_more(PGconn *conn) {
    SSL *ssl = lt_pq.PQsslStruct(conn, "OpenSSL");
    return ssl && SSL_pending(ssl) > 0;
}

// NULL ends one statement's results; two of them in a row: there is nothing more.
static void take_results(struct lt_postgres *p) {
    const PGconn *conn = p->conn;
    unsigned nothing = 0;
    while (p->conn == conn && conn && !lt_pq.PQisBusy(p->conn) && nothing < 2) {
        PGresult *r = lt_pq.PQgetResult(p->conn);
        nothing = r ? 0 : nothing + 1;
        if (r || p->phase == SETTING_UP)
            got(p, r);
    }
}

static void take_input(struct lt_postgres *p) {
    const PGconn *conn = p->conn;
    do {
        int ok = lt_pq.PQconsumeInput(p->conn);
        take_results(p); // even then: it may have said why
        if (p->conn != conn)
            return;
        if (!ok) {
            lt_link_lost(&p->link, LT_ERR_CLOSED);
            return;
        }
    } while (has_more(p->conn));
}

static void on_ready_fd(evutil_socket_t fd, short what, void *arg) {
    struct lt_postgres *p = arg;
    (void)fd;
    if (p->phase == DIALING) {
        dial(p);
        return;
    }
    if (what & EV_READ)
        take_input(p);
    if ((what & EV_WRITE) && p->conn && p->phase != DIALING && !flush_out(p))
        lt_link_lost(&p->link, LT_ERR_CLOSED);
    lt_link_watch(&p->link);
}

static bool send_one(struct lt_postgres *p, struct lt_postgres_call *call) {
    struct lt_postgres_args a;
    char name[16];
    memset(&a, 0, sizeof a);
    call->fill(call, &a);
    snprintf(name, sizeof name, "lethe%u", a.statement);
    call->sent = true;
    return lt_pq.PQsendQueryPrepared(p->conn, name, LT_POSTGRES_ARGS, a.values, a.lengths, a.formats, 1) &&
           lt_pq.PQpipelineSync(p->conn);
}

static void flush(struct lt_link *l) {
    struct lt_postgres *p = of_link(l);
    bool ok = true;
    for (struct lt_list *node = l->waiting.next; ok && node != &l->waiting; node = node->next) {
        struct lt_postgres_call *call = LT_ENTRY(node, struct lt_postgres_call, link.node);
        ok = call->sent || send_one(p, call);
    }
    if (!ok || !flush_out(p))
        lt_link_lost(l, LT_ERR_CLOSED);
}

static void fail(struct lt_link_call *c, enum lt_err e) {
    struct lt_postgres_call *call = LT_ENTRY(c, struct lt_postgres_call, link);
    call->done(call, e, NULL);
}

static const struct lt_link_ops link_ops = {"postgres", begin_connect, disconnect, flush, fail};

void lt_postgres_send(struct lt_postgres *p, struct lt_postgres_call *call) {
    lt_list_init(&call->link.node);
    call->sent = false;
    lt_link_push(&p->link, &call->link);
}

static void free_ghost(struct lt_postgres_call *ghost, enum lt_err e, const struct pg_result *r) {
    (void)e;
    (void)r;
    free(ghost);
}

// What was sent is answered all the same: a ghost takes that.
bool lt_postgres_cancel(struct lt_postgres *p, struct lt_postgres_call *call) {
    struct lt_postgres_call *ghost = call->sent ? malloc(sizeof *ghost) : NULL;
    if (call->sent && !ghost)
        return false;
    if (ghost) {
        *ghost = *call;
        ghost->done = free_ghost;
    }
    lt_link_replace(&p->link, &call->link, ghost ? &ghost->link : NULL);
    return true;
}

void lt_postgres_on_breaker(struct lt_postgres *p, void (*on_breaker)(void *user, bool opened), void *user) {
    p->link.on_breaker = on_breaker;
    p->link.user = user;
}

bool lt_postgres_is_open(const struct lt_postgres *p) {
    return lt_link_is_open(&p->link);
}

bool lt_postgres_is_ready(const struct lt_postgres *p) {
    return p->link.state == LT_LINK_READY;
}

bool lt_postgres_check(struct lt_span url) {
    struct lt_pg_conninfo *info = lt_pg_conninfo_new(url);
    lt_pg_conninfo_free(info);
    return info != NULL;
}

struct lt_postgres *lt_postgres_new(struct lt_loop *loop, const struct lt_postgres_options *o) {
    struct lt_postgres *p = calloc(1, sizeof *p);
    struct lt_pg_conninfo *info = lt_pg_conninfo_new(o->url);
    if (lt_pq_load())
        LT_LOG(LT_LOG_ERROR, "postgres_unusable", lt_fs("why", lt_pq_load()));
    if (!p || !info || !lt_pg_conninfo_resolve(info)) {
        free(p);
        lt_pg_conninfo_free(info);
        return NULL;
    }
    p->options = *o;
    p->info = info;
    lt_link_init(&p->link, &link_ops, loop, o->timeout, lt_pg_conninfo_where(info));
    return p;
}

void lt_postgres_free(struct lt_postgres *p) {
    if (!p)
        return;
    lt_link_fini(&p->link);
    lt_pg_conninfo_free(p->info);
    free(p);
}
