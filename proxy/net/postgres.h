// SPDX-License-Identifier: Apache-2.0
// A PostgreSQL client for one loop: one connection in pipeline mode, prepared statements, each of them a transaction of its own; see
// net/link.h for deadlines, back-off and breaker. libpq is the protocol, TLS and passwords; the event loop is ours.
#pragma once

#include "base/span.h"
#include "net/link.h"

struct pg_result;
struct lt_postgres;

enum { LT_POSTGRES_ARGS = 10, LT_POSTGRES_STATEMENTS = 16 };

// What a statement is run with.
struct lt_postgres_args {
    unsigned statement;
    const char *values[LT_POSTGRES_ARGS];                     // NULL: NULL
    int lengths[LT_POSTGRES_ARGS], formats[LT_POSTGRES_ARGS]; // 1: binary, and the length counts; 0: text
    char texts[LT_POSTGRES_ARGS][24];                         // room for numbers as text
};

// One statement on its way, embedded in whatever waits for it.
struct lt_postgres_call {
    struct lt_link_call link;
    bool sent;
    // When its turn to be sent has come: fills `a`, which is zero. What that points to stays until `done`.
    void (*fill)(struct lt_postgres_call *c, struct lt_postgres_args *a);
    // Called exactly once, from the loop and never from inside lt_postgres_send(). `r`: rows (all columns binary), or an error of the
    // statement alone; valid during the call. NULL with `e` set when there is no answer. The call may be sent again from here.
    void (*done)(struct lt_postgres_call *c, enum lt_err e, const struct pg_result *r);
};

struct lt_postgres_options {
    struct lt_span url;            // "postgres://…" or "postgresql://…" as libpq reads it
    int64_t timeout;               // ms a statement, connecting included
    const char *setup;             // SQL that each connection begins with
    const char *const *statements; // `n` of them, prepared on each connection
    unsigned n;
    unsigned types[LT_POSTGRES_ARGS]; // of the arguments of all statements: OIDs
};

// Is it a URL that libpq (net/postgres_library.h) is there for and can read?
bool lt_postgres_check(struct lt_span url);

// Connects when the first statement comes, then keeps the connection. The texts of `o`, but for the URL, must outlive it. NULL: no
// memory, or no libpq, which is logged.
struct lt_postgres *lt_postgres_new(struct lt_loop *loop, const struct lt_postgres_options *o);

// Calls still under way are completed with LT_ERR_CANCELED.
void lt_postgres_free(struct lt_postgres *p);

void lt_postgres_send(struct lt_postgres *p, struct lt_postgres_call *call);

// Nobody waits for this call any more: `done` will not be called. False: no memory; then it will.
bool lt_postgres_cancel(struct lt_postgres *p, struct lt_postgres_call *call);

bool lt_postgres_is_open(const struct lt_postgres *p);

// Whom to tell, from the loop, that the breaker has opened or closed.
void lt_postgres_on_breaker(struct lt_postgres *p, void (*on_breaker)(void *user, bool opened), void *user);
bool lt_postgres_is_ready(const struct lt_postgres *p);
