// SPDX-License-Identifier: Apache-2.0
// Sessions in memcached. A session is one value,  <prefix>:<hash>  =  head (memcached_record.h) and sealed data. Whoever takes a lock
// also makes a key  <prefix>:<hash>:<owner>  that memcached lets go when the lease is over.
//
// Why that keeps what store.h promises:
// - Everything but the running of a lease is in the one value, and that changes by compare-and-swap only (CREATE apart, whose key nobody
//   else knows). So each change is made to exactly what the operation has read and judged; who was overtaken reads again.
// - Fence: each LOAD with a lease counts the number up in the value. A SAVE finds it there, or its swap fails because it came in between.
// - Lock: X holds it while the value names X and X's key is there. To take it from X, one must have read the value (with its CAS) and
//   found no key of X behind that. Only X's own LOAD, LOCK or CREATE makes the key, before it swaps the value, on the same
//   connection; then the other's swap fails. RENEW never makes the key anew. So at no time two are named, and a lease that is over
//   stays over once somebody has judged so and swapped. Leases run by memcached's clock; those of the replicas need not agree.
// - PUT by an owner: it has found itself in the value and its key there; if somebody took over since, its swap fails.
// - Tombstone: a kind of value as any other: what finds it writes nothing.
// - RELEASE takes away the key: one command, and the name that stays in the value means nothing. A SAVE takes the name out as well,
//   which spares the next one the question.
// - The value outlives the record when a lock is in it, so that a lock does not end with the record (LOCK needs none at all).
// What memcached itself forgets (no memory, a restart) is gone; see docs/stores.md. It also deletes a value when a write of it does not
// fit: too large ones are not sent.
#include "store/effort.h"
#include "store/memcached_record.h"
#include "store/memcached_servers.h"

#include "base/clock.h"
#include "base/log.h"

#include <stdio.h>
#include <stdlib.h>

enum { CONFLICTS_MAX = 32, KEY_MAX = 250, ITEM_ROOM = 128, DAYS_30 = 30 * 24 * 3600 };

struct memcached_store {
    struct lt_store store;
    struct lt_memcached_servers servers;
};

enum step { READ, LEASE, STORE, RENEW, RELEASE };

// An operation on its way, in the op's room for the driver.
struct command {
    struct lt_store_effort effort;
    struct lt_memcached_call call;
    struct lt_memcached *server;
    enum step step;
    unsigned conflicts;
    bool there; // a value was read; `cas` is its
    uint64_t cas;
    struct lt_memcached_record record;
};
_Static_assert(sizeof(struct command) <= LT_STORE_DRIVER_ROOM, "lt_store_op.driver");

static struct command *command_of(struct lt_store_op *op) {
    return (struct command *)op->driver;
}

// --- commands ---

static struct lt_span key_of(const struct lt_store_op *op, char out[KEY_MAX]) {
    int n = snprintf(out, KEY_MAX, "%s:%s", op->store->prefix, op->hash);
    return lt_span(out, (size_t)n);
}

// An owner may be any bytes that a caller has sent.
static struct lt_span lease_key(const struct lt_store_op *op, const char *owner, char out[KEY_MAX]) {
    char name[(LT_STORE_OWNER * 4 + 2) / 3 + 1];
    lt_base64url_encode(owner, strlen(owner), name);
    int n = snprintf(out, KEY_MAX, "%s:%s:%s", op->store->prefix, op->hash, name);
    return lt_span(out, (size_t)n);
}

// More than 30 days are a date to memcached.
static long long exptime(int64_t seconds) {
    return seconds > DAYS_30 ? lt_clock_wall() / 1000 + seconds : seconds;
}

static void send_op(struct lt_store_op *op, enum step step, unsigned commands, const struct lt_span *pieces, unsigned n) {
    struct command *command = command_of(op);
    command->step = step;
    command->call.commands = commands;
    lt_memcached_send(command->server, &command->call, pieces, n);
}

static void send_text(struct lt_store_op *op, enum step step, unsigned commands, const char *text, int n) {
    struct lt_span piece = lt_span(text, (size_t)n);
    send_op(op, step, commands, &piece, 1);
}

static void read_value(struct lt_store_op *op) {
    char key[KEY_MAX], text[KEY_MAX + 32];
    int n = snprintf(text, sizeof text, "mg %.*s v c\r\n", (int)key_of(op, key).n, key);
    send_text(op, READ, 1, text, n);
}

static void ask_lease(struct lt_store_op *op) {
    char key[KEY_MAX], text[KEY_MAX + 32];
    int n = snprintf(text, sizeof text, "mg %.*s\r\n", (int)lease_key(op, command_of(op)->record.owner, key).n, key);
    send_text(op, LEASE, 1, text, n);
}

static void renew(struct lt_store_op *op) {
    char key[KEY_MAX], lease[KEY_MAX], text[2 * KEY_MAX + 64];
    int n = snprintf(text, sizeof text, "mg %.*s T%lld\r\nmg %.*s t\r\n", (int)lease_key(op, op->owner, lease).n, lease,
                     exptime(lt_memcached_lease_seconds(op->lease)), (int)key_of(op, key).n, key);
    send_text(op, RENEW, 2, text, n);
}

static void release(struct lt_store_op *op) {
    char key[KEY_MAX], text[KEY_MAX + 32];
    int n = snprintf(text, sizeof text, "md %.*s\r\n", (int)lease_key(op, op->owner, key).n, key);
    send_text(op, RELEASE, 1, text, n);
}

static void finish(struct lt_store_op *op, enum lt_store_result result) {
    bool keeps = op->kind == LT_STORE_SAVE || op->kind == LT_STORE_PUT || op->kind == LT_STORE_CREATE;
    bool counts = op->kind == LT_STORE_LOAD || op->kind == LT_STORE_PUT || op->kind == LT_STORE_CREATE;
    if (counts && result == LT_STORE_OK)
        op->fence = command_of(op)->record.number;
    if (!keeps && (op->kind != LT_STORE_LOAD || result != LT_STORE_OK))
        lt_buf_consume(&op->data, op->data.len);
    lt_store_effort_end(&command_of(op)->effort, result);
}

// --- write ---

static bool is_too_large(struct lt_store_op *op, size_t value, size_t key) {
    size_t limit = lt_memcached_item_max(command_of(op)->server);
    return limit && value + key + ITEM_ROOM > limit;
}

static void log_too_large(size_t value) {
    LT_LOG(LT_LOG_ERROR, "session_too_large", lt_fn("bytes", (int64_t)value),
           lt_fs("do", "start memcached with a larger -I (its largest item, 1m by default), or use another store"));
}

// The lease's key goes first: nobody may see the owner in the value without it.
static bool store_value(struct lt_store_op *op) {
    struct command *command = command_of(op);
    char name[KEY_MAX], lease[KEY_MAX], line[2 * KEY_MAX + 128], head[LT_MEMCACHED_HEAD], mode[40];
    struct lt_span key = key_of(op, name);
    struct lt_span data = command->record.kind == LT_MEMCACHED_DATA ? lt_buf_span(&op->data) : LT_S("");
    bool locks = lt_memcached_locks(op);
    int n = 0;
    if (is_too_large(op, data.n + sizeof head, key.n)) {
        log_too_large(data.n);
        return false;
    }
    lt_memcached_record_write(&command->record, head);
    if (locks)
        n = snprintf(line, sizeof line, "ms %.*s 0 T%lld\r\n\r\n", (int)lease_key(op, op->owner, lease).n, lease,
                     exptime(lt_memcached_lease_seconds(op->lease)));
    if (op->kind == LT_STORE_CREATE)
        mode[0] = '\0';
    else
        snprintf(mode, sizeof mode, command->there ? " C%llu" : " ME", (unsigned long long)command->cas);
    n += snprintf(line + n, sizeof line - (size_t)n, "ms %.*s %zu T%lld%s\r\n", (int)key.n, key.p, data.n + sizeof head,
                  exptime(lt_memcached_record_seconds(&command->record, lt_clock_wall())), mode);
    struct lt_span pieces[] = {lt_span(line, (size_t)n), lt_span(head, sizeof head), data, LT_S("\r\n")};
    send_op(op, STORE, locks ? 2 : 1, pieces, 4);
    return true;
}

static void decide(struct lt_store_op *op, enum lt_memcached_lease lease) {
    struct command *command = command_of(op);
    switch (lt_memcached_record_decide(op, &command->record, lease, lt_clock_wall())) {
    case LT_MEMCACHED_ASK_LEASE:
        ask_lease(op);
        break;
    case LT_MEMCACHED_STORE:
        if (!store_value(op))
            finish(op, LT_STORE_DOWN);
        break;
    case LT_MEMCACHED_FINISH:
        finish(op, op->result);
        break;
    }
}

// --- answers ---

static void begin(struct lt_store_effort *effort) {
    struct lt_store_op *op = effort->op;
    struct command *command = command_of(op);
    command->record = (struct lt_memcached_record){0};
    command->there = false;
    if (op->kind == LT_STORE_RELEASE)
        release(op);
    else if (op->kind == LT_STORE_RENEW)
        renew(op);
    else if (op->kind == LT_STORE_CREATE)
        decide(op, LT_MEMCACHED_OVER);
    else
        read_value(op);
}

// What is stored with the head must be at hand, when it is not the caller's.
static bool keep_data(struct lt_store_op *op, struct lt_span data) {
    if (op->kind == LT_STORE_SAVE || op->kind == LT_STORE_PUT)
        return true;
    lt_buf_consume(&op->data, op->data.len);
    return lt_buf_append(&op->data, data);
}

static void was_read(struct lt_store_op *op, const struct lt_memcached_answer *a) {
    struct command *command = command_of(op);
    struct lt_span data = LT_S("");
    command->there = a->word == LT_MEMCACHED_VA;
    command->cas = a->cas;
    command->record = (struct lt_memcached_record){0};
    if (command->there && !lt_memcached_record_read(a->data, &command->record, &data)) {
        LT_LOG(LT_LOG_ERROR, "store_error", lt_fs("error", "memcached holds a value that is not lethe's"),
               lt_fs("do", "give lethe a session.prefix that nobody else uses there"));
        finish(op, LT_STORE_DOWN);
    } else if (!keep_data(op, data)) {
        finish(op, LT_STORE_DOWN);
    } else {
        decide(op, LT_MEMCACHED_UNKNOWN);
    }
}

static void was_renewed(struct lt_store_op *op, const struct lt_memcached_answer *a) {
    struct command *command = command_of(op);
    if (command->call.first != LT_MEMCACHED_HD)
        finish(op, LT_STORE_MISS);
    else if (a->word == LT_MEMCACHED_HD && !lt_memcached_is_short(a->left, op->lease))
        finish(op, LT_STORE_OK);
    else
        read_value(op);
}

static void was_stored(struct lt_store_op *op, const struct lt_memcached_answer *a) {
    struct command *command = command_of(op);
    bool leased = command->call.commands == 1 || command->call.first == LT_MEMCACHED_HD;
    if (a->word == LT_MEMCACHED_HD)
        finish(op, leased ? LT_STORE_OK : LT_STORE_DOWN);
    else if (++command->conflicts < CONFLICTS_MAX && lt_store_effort_has_time(&command->effort))
        read_value(op);
    else
        finish(op, LT_STORE_DOWN);
}

static void was_refused(struct lt_store_op *op, struct lt_span line) {
    LT_LOG(LT_LOG_WARN, "store_error", lt_f("error", line));
    if (lt_span_starts(line, LT_S("SERVER_ERROR out of memory")))
        lt_store_count(op->store, LT_STORE_FULL, 1);
    if (lt_span_starts(line, LT_S("SERVER_ERROR object too large")))
        log_too_large(op->data.len);
    finish(op, LT_STORE_DOWN);
}

static void on_answer(struct lt_memcached_call *call, enum lt_err e, const struct lt_memcached_answer *a) {
    struct command *command = LT_ENTRY(call, struct command, call);
    struct lt_store_op *op = command->effort.op;
    if (!a)
        lt_store_effort_failed(&command->effort, e);
    else if (a->word == LT_MEMCACHED_ERROR)
        was_refused(op, a->line);
    else if (command->step == READ)
        was_read(op, a);
    else if (command->step == LEASE)
        decide(op, a->word == LT_MEMCACHED_HD ? LT_MEMCACHED_RUNS : LT_MEMCACHED_OVER);
    else if (command->step == STORE)
        was_stored(op, a);
    else if (command->step == RENEW)
        was_renewed(op, a);
    else
        finish(op, LT_STORE_OK);
}

static bool cancel(struct lt_store_effort *effort) {
    struct command *command = command_of(effort->op);
    return lt_memcached_cancel(command->server, &command->call);
}

static const struct lt_store_effort_ops effort_ops = {begin, cancel};

// --- the store ---

static void submit(struct lt_store *s, struct lt_store_op *op) {
    struct command *command = command_of(op);
    *command = (struct command){.call = {.done = on_answer}};
    command->server = lt_memcached_servers_find(&((struct memcached_store *)s)->servers, op->hash);
    lt_store_effort_begin(&command->effort, op, &effort_ops);
}

static bool breaker_is_open(const struct lt_store *s) {
    return lt_memcached_servers_is_open(&((const struct memcached_store *)s)->servers);
}

static void close_store(struct lt_store *s) {
    struct memcached_store *m = (struct memcached_store *)s;
    lt_memcached_servers_fini(&m->servers);
    free(m);
}

static struct lt_store *open_store(const struct lt_store_options *o) {
    struct memcached_store *m = calloc(1, sizeof *m);
    if (m && lt_memcached_servers_init(&m->servers, o, LT_STORE_DATA_MAX + LT_MEMCACHED_HEAD, &m->store))
        return &m->store;
    free(m);
    return NULL;
}

const struct lt_store_driver lt_store_memcached = {
    .scheme = "memcached://",
    .check = lt_memcached_servers_check,
    .open = open_store,
    .close = close_store,
    .submit = submit,
    .breaker_is_open = breaker_is_open,
};
