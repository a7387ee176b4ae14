// SPDX-License-Identifier: Apache-2.0
// What the files of this module share.
//
//   state_api.c   options; the proxy's side: what must wait for the application's last byte
//   serve.c       the API's side, on a listener and a thread of its own: one operation an exchange
//   blob.c        a blob's name in the store, sealing and opening
//   in_flight.c   which sessions requests of now have: a miss of one of them is a lost session
//   adapters.c    who said that it hooked what
#pragma once

#include "crypto/key_ring.h"
#include "module.h"
#include "store/store.h"

enum { STATE_ID_MAX = 512 };

struct state_conf {
    int profile;
    struct lt_span listen;
    int64_t max_size;
    struct lt_option_list allow_uids;
    int lock;
};

// Does one request at a time work on a session?
bool state_is_exclusive(const struct state_conf *conf);

enum state_metric {
    M_READ,
    M_READ_MISS,
    M_WRITTEN,
    M_CONFLICT,
    M_LATE,
    M_DELETED,
    M_REFUSED,
    M_HOOKED,
    M_NOT_HOOKED,
    M_SESSIONS,
    M_SECONDS,
    M_BREAKER,
    M_STORE_EVENTS,
    M_AFTER_EVENTS = M_STORE_EVENTS + LT_STORE_EVENTS - 1,
    M_COUNT,
};

struct state_worker {
    const struct lt_services *services;
    struct lt_store *store;
    struct lt_key_ring ring;
    struct lt_span prefix;
    int64_t idle_ttl, absolute_ttl, lock_ttl;
};

// A request with a session that is under way, on whichever worker, so that a miss on the API's side can be told from a stranger's question.
struct in_flight {
    struct lt_list node;
    char cookies[256]; // the jar, decoded
    uint64_t version;  // of the blob, as the application has it: what it read last, or wrote; 0: neither
    char route[64];
};

// One call of the API; of the proxy's side only `flight`.
struct state_call {
    char id[STATE_ID_MAX];
    size_t id_size;
    struct lt_store_op *op;
    bool pending;       // `op` is running
    struct lt_buf body; // of a PUT
    struct lt_span to;  // of a rename: the new id
    uint64_t version;   // of a rename: under the new id
    int64_t give_up;    // of a lock: mono ms
    char owner[LT_STORE_OWNER + 1];
    struct in_flight flight;
};

static inline const struct state_conf *state_conf(const struct lt_call *c) {
    return c->conf;
}

static inline void state_count(struct lt_call *c, enum state_metric m) {
    lt_metric_add(c->metrics, m, 1);
}

// serve.c
enum lt_verdict state_serve(struct lt_call *c);
void state_serve_done(struct lt_call *c);

// blob.c

// The blob's name in the store: a keyed hash of the application's id.
void blob_name(const struct state_worker *w, struct lt_span id, char out[LT_TOKEN_HASH_TEXT + 1]);

// Appends the sealed blob to `out`. False: no memory.
bool blob_seal(const struct state_worker *w, struct lt_span id, struct lt_span blob, struct lt_buf *out)
    __attribute__((warn_unused_result));

// The blob, to be freed; its length in *n. NULL: it does not open under this ring and this id, or no memory.
char *blob_open(const struct state_worker *w, struct lt_span id, struct lt_span sealed, size_t *n);

// adapters.c

// An adapter has spoken: logs it, once for each different thing it says. Any thread.
void adapters_note(struct lt_span adapter, struct lt_span store, bool hooked, struct lt_span detail);

// What was said so far, a line each, for the doctor. Returns how many hooked.
unsigned adapters_examine(struct lt_exam *e);

// in_flight.c
void in_flight_add(struct in_flight *f, const struct lt_record *record, struct lt_span path);
void in_flight_remove(struct in_flight *f); // does nothing when it was not added, if it was zeroed
// The application has asked for `id`, which the store does not have: if a request under way was sent with it, its session is lost.
void in_flight_miss(struct lt_span id);
// A request under way has read or written this version of `id`.
void in_flight_saw(struct lt_span id, uint64_t version);
// The version on which its next write builds. 0: no request under way has it.
uint64_t in_flight_version(struct lt_span id);
