// SPDX-License-Identifier: Apache-2.0
// What was found in this process, by kind, route and place. Rare events of all workers, so one table under a lock.
#pragma once

#include "base/route.h"

#include <stdint.h>

enum audit_kind {
    AUDIT_DISK,       // a file written outside the allowed paths
    AUDIT_STICKY,     // an affinity cookie in the application's answer
    AUDIT_REPLICA_ID, // a session id that names a replica
    AUDIT_LOST,       // a lost session: told by the session module, here for enforce.findings
    AUDIT_GROWTH,     // what lies in a watched tree has grown
    AUDIT_KINDS
};

enum { AUDIT_ROWS = 256, AUDIT_WHERE = 128, AUDIT_EXAMPLE = 256 };

// NULL-terminated: "disk", "sticky", "replica-id", "lost-session", "growth".
extern const char *const audit_kind_names[AUDIT_KINDS + 1];

struct audit_row {
    enum audit_kind kind;
    char route[LT_ROUTE];        // "/upload"; "?": not known
    char where[AUDIT_WHERE];     // a directory, a cookie's name
    char example[AUDIT_EXAMPLE]; // the latest
    uint64_t count;
};

// AUDIT_KINDS: no such kind.
enum audit_kind audit_kind_of(struct lt_span name);

// At most so many rows are kept (up to AUDIT_ROWS). In the second half of the table new ones stand for all others of their kind.
void audit_limit(unsigned rows);

// From any thread. Texts are cut to their sizes, and what is not plain ASCII in them becomes "?". The first of a row is logged.
void audit_found(enum audit_kind kind, const char *route, const char *where, const char *example, uint64_t n);

// A bit for each kind that was found since the start or the last audit_clear(). Cheap: for every request.
unsigned audit_seen(void);
// Lost sessions are counted elsewhere; this makes them seen.
void audit_see_lost(uint64_t total);

// Copies at most `max` rows; returns how many.
unsigned audit_look(struct audit_row *rows, unsigned max);

// How often things of a kind were found.
uint64_t audit_count(enum audit_kind kind);

// Acknowledged: the table is empty, and lost sessions count from now.
void audit_clear(void);
