// SPDX-License-Identifier: Apache-2.0
// The API: one operation an exchange, each of them one or a few operations of the store. openapi.yaml is its contract.
#include "modules/state_api/state.h"

#include "base/clock.h"

#include <stdlib.h>
#include <unistd.h>

enum { RETRY_MIN_MS = 5, RETRY_SPREAD_MS = 20, LOCK_WAIT_MAX = 600 * 1000 };

static struct state_worker *worker_of(const struct lt_call *c) {
    return c->worker;
}

static struct lt_span id_of(const struct lt_call *c) {
    const struct state_call *st = c->state;
    return lt_span(st->id, st->id_size);
}

// --- answers ---

static enum lt_verdict say(struct lt_call *c, int status, const char *word, const char *text) {
    lt_call_reply_field(c, LT_S("X-Lethe-Error"), lt_span_cstr(word));
    return lt_call_reply(c, status, NULL, lt_span_cstr(text));
}

static enum lt_verdict done(struct lt_call *c) {
    return lt_call_reply(c, 204, NULL, LT_S(""));
}

static enum lt_verdict done_at(struct lt_call *c, uint64_t version) {
    struct lt_span tag = lt_arena_printf(lt_call_arena(c), "\"%llu\"", (unsigned long long)version);
    lt_call_reply_field(c, LT_S("ETag"), tag.p ? tag : LT_S(""));
    return done(c);
}

// What is no success of an operation.
static enum lt_verdict refuse(struct lt_call *c, enum lt_store_result result) {
    switch (result) {
    case LT_STORE_MISS:
        return say(c, 404, "no_session", "there is no session of this id: begin a new one\n");
    case LT_STORE_ENDED:
        state_count(c, M_LATE);
        return say(c, 410, "session_ended", "the session of this id was deleted: begin a new one under another id\n");
    case LT_STORE_FENCED:
        state_count(c, M_CONFLICT);
        return say(c, 412, "version_conflict", "somebody else has written: read again\n");
    case LT_STORE_BUSY:
        return say(c, 423, "lock_lost", "this lock is not held (any more): lock again, and read again\n");
    default:
        return say(c, 503, "store_unavailable",
                   "the store does not answer: fail this request, the session is not lost\n");
    }
}

// --- operations ---

static void on_result(struct lt_store_op *op) {
    struct lt_call *c = op->user;
    struct state_call *st = c->state;
    st->pending = false;
    lt_call_resume(c);
}

// The services stay for as long as it runs.
static void on_gone(void *services) {
    lt_services_drop(services);
}

static void let_go_on(struct lt_call *c, struct lt_store_op *op) {
    const struct lt_services *services = worker_of(c)->services;
    lt_services_hold(services);
    lt_store_orphan(op, on_gone, (void *)(uintptr_t)services);
}

static void abandon(struct lt_call *c) {
    struct state_call *st = c->state;
    if (!st->pending)
        return;
    st->pending = false;
    let_go_on(c, st->op);
    st->op = NULL;
}

static enum lt_verdict run(struct lt_call *c, struct lt_store_op *op, lt_hook_fn *then) {
    struct state_call *st = c->state;
    lt_store_op_free(st->op);
    st->op = op;
    st->pending = true;
    op->done = on_result;
    op->user = c;
    lt_store_submit(worker_of(c)->store, op);
    return lt_call_wait(c, then, abandon);
}

// The time to live that the caller asks for, within what a session may live at all.
static int64_t ttl_of(struct lt_call *c) {
    const struct state_worker *w = worker_of(c);
    const struct lt_header *f = lt_headers_find(&lt_call_request(c)->headers, LT_S("Lethe-TTL"));
    unsigned long long seconds;
    if (!f || !lt_span_to_u64(f->value, INT64_MAX / 1000, &seconds) || seconds == 0)
        return w->idle_ttl;
    return (int64_t)seconds * 1000 < w->absolute_ttl ? (int64_t)seconds * 1000 : w->absolute_ttl;
}

static struct lt_store_op *operation(struct lt_call *c, enum lt_store_kind kind, struct lt_span id) {
    const struct state_worker *w = worker_of(c);
    const struct state_call *st = c->state;
    struct lt_store_op *op = lt_store_op_new(kind);
    if (!op)
        return NULL;
    blob_name(w, id, op->hash);
    memcpy(op->owner, st->owner, sizeof op->owner);
    op->ttl = kind == LT_STORE_END ? w->absolute_ttl : ttl_of(c);
    op->expires = lt_clock_wall() + w->absolute_ttl;
    return op;
}

static enum lt_verdict no_memory(struct lt_call *c) {
    return say(c, 503, "memory", "no memory: fail this request\n");
}

static enum lt_verdict begin(struct lt_call *c, enum lt_store_kind kind, lt_hook_fn *then) {
    struct lt_store_op *op = operation(c, kind, id_of(c));
    return op ? run(c, op, then) : no_memory(c);
}

static const struct lt_store_op *result_of(const struct lt_call *c) {
    return ((const struct state_call *)c->state)->op;
}

// --- read ---

static enum lt_verdict unreadable(struct lt_call *c) {
    LT_LOG(LT_LOG_ERROR, "blob_unreadable", lt_f("id", lt_call_id(c)),
           lt_fs("do", "give this replica all keys of the others: the newest first, the old ones behind it"));
    return say(c, 503, "session_unreadable", "lethe has not the key that sealed this session: fail this request\n");
}

static void missed(struct lt_call *c) {
    state_count(c, M_READ_MISS);
    in_flight_miss(id_of(c));
}

static enum lt_verdict was_read(struct lt_call *c) {
    const struct lt_store_op *op = result_of(c);
    if (op->result != LT_STORE_OK) {
        if (op->result == LT_STORE_MISS)
            missed(c);
        return refuse(c, op->result);
    }
    size_t n;
    char *blob = blob_open(worker_of(c), id_of(c), lt_buf_span(&op->data), &n);
    if (!blob)
        return unreadable(c);
    state_count(c, M_READ);
    in_flight_saw(id_of(c), op->fence);
    struct lt_span tag = lt_arena_printf(lt_call_arena(c), "\"%llu\"", (unsigned long long)op->fence);
    lt_call_reply_field(c, LT_S("ETag"), tag.p ? tag : LT_S(""));
    enum lt_verdict v = lt_call_reply(c, 200, "application/octet-stream", lt_span(blob, n));
    free(blob);
    return v;
}

static enum lt_verdict serve_read(struct lt_call *c) {
    return begin(c, LT_STORE_LOAD, was_read);
}

// --- write ---

// "7" with its quotes. False: anything else.
static bool read_tag(struct lt_span tag, uint64_t *version) {
    unsigned long long n;
    bool ok = tag.n > 2 && tag.p[0] == '"' && tag.p[tag.n - 1] == '"' &&
              lt_span_to_u64(lt_span(tag.p + 1, tag.n - 2), UINT64_MAX, &n);
    *version = ok ? n : 0;
    return ok;
}

static enum lt_verdict was_written(struct lt_call *c) {
    const struct lt_store_op *op = result_of(c);
    if (op->result != LT_STORE_OK)
        return refuse(c, op->result);
    state_count(c, M_WRITTEN);
    in_flight_saw(id_of(c), op->fence);
    return done_at(c, op->fence);
}

// One request at a time works on the session: one that was held up beyond its lease (a stopped process) must not write over what others made
// of it since. Its write builds on what it has read, whether its adapter says so or not.
static void build_on_what_was_read(struct lt_call *c, struct lt_store_op *op) {
    op->fence = state_is_exclusive(state_conf(c)) ? in_flight_version(id_of(c)) : 0;
    op->condition = op->fence ? LT_STORE_IF_VERSION : LT_STORE_ALWAYS;
}

static enum lt_verdict write_body(struct lt_call *c) {
    struct state_call *st = c->state;
    const struct lt_headers *fields = &lt_call_request(c)->headers;
    const struct lt_header *match = lt_headers_find(fields, LT_S("If-Match"));
    const struct lt_header *none = lt_headers_find(fields, LT_S("If-None-Match"));
    struct lt_store_op *op = operation(c, LT_STORE_PUT, id_of(c));
    if (!op)
        return no_memory(c);
    op->condition = none ? LT_STORE_IF_ABSENT : match ? LT_STORE_IF_VERSION : LT_STORE_ALWAYS;
    bool tag_ok = !match || read_tag(match->value, &op->fence);
    if (!none && !match)
        build_on_what_was_read(c, op);
    bool none_ok = !none || lt_span_eq(none->value, LT_S("*"));
    if (!tag_ok || !none_ok || (match && none)) {
        lt_store_op_free(op);
        return say(c, 400, "condition", "write If-Match with the ETag of a read, or \"If-None-Match: *\"\n");
    }
    if (!blob_seal(worker_of(c), id_of(c), lt_buf_span(&st->body), &op->data)) {
        lt_store_op_free(op);
        return no_memory(c);
    }
    return run(c, op, was_written);
}

static enum lt_verdict serve_write(struct lt_call *c) {
    struct state_call *st = c->state;
    lt_buf_init(&st->body, (size_t)state_conf(c)->max_size);
    return lt_call_read_body(c, &st->body, write_body);
}

// --- the others ---

static enum lt_verdict was_done(struct lt_call *c) {
    const struct lt_store_op *op = result_of(c);
    return op->result == LT_STORE_OK ? done(c) : refuse(c, op->result);
}

static enum lt_verdict serve_touch(struct lt_call *c) {
    return begin(c, LT_STORE_TOUCH, was_done);
}

static enum lt_verdict serve_delete(struct lt_call *c) {
    state_count(c, M_DELETED);
    return begin(c, LT_STORE_END, was_done);
}

// Read under the old id, written under the new one, then the old one is dead: a failure in between leaves both.
static enum lt_verdict old_ended(struct lt_call *c) {
    struct state_call *st = c->state;
    return result_of(c)->result == LT_STORE_OK ? done_at(c, st->version) : refuse(c, result_of(c)->result);
}

static enum lt_verdict moved(struct lt_call *c) {
    struct state_call *st = c->state;
    if (result_of(c)->result != LT_STORE_OK)
        return refuse(c, result_of(c)->result);
    st->version = result_of(c)->fence;
    return begin(c, LT_STORE_END, old_ended);
}

static enum lt_verdict read_for_move(struct lt_call *c) {
    struct state_call *st = c->state;
    const struct lt_store_op *old = result_of(c);
    if (old->result != LT_STORE_OK)
        return refuse(c, old->result);
    size_t n;
    char *blob = blob_open(worker_of(c), id_of(c), lt_buf_span(&old->data), &n);
    if (!blob)
        return unreadable(c);
    struct lt_store_op *op = operation(c, LT_STORE_PUT, st->to);
    bool ok = op && blob_seal(worker_of(c), st->to, lt_span(blob, n), &op->data);
    free(blob);
    if (ok)
        return run(c, op, moved);
    lt_store_op_free(op);
    return no_memory(c);
}

static enum lt_verdict serve_rename(struct lt_call *c) {
    struct state_call *st = c->state;
    const struct lt_header *to = lt_headers_find(&lt_call_request(c)->headers, LT_S("Lethe-To"));
    char *id = to ? lt_arena_alloc(lt_call_arena(c), STATE_ID_MAX) : NULL;
    if (!id || !lt_span_percent_decode(to->value, id, STATE_ID_MAX, &st->to.n) || st->to.n == 0)
        return say(c, 400, "id", "write the new id into \"Lethe-To\", percent-encoded, at most 512 bytes\n");
    st->to.p = id;
    return begin(c, LT_STORE_LOAD, read_for_move);
}

// --- lock ---

// A number of a field; `fallback` when it is not there or none.
static int64_t number_of(struct lt_call *c, struct lt_span name, int64_t fallback, int64_t max) {
    const struct lt_header *f = lt_headers_find(&lt_call_request(c)->headers, name);
    unsigned long long n;
    return f && lt_span_to_u64(f->value, (unsigned long long)max, &n) ? (int64_t)n : fallback;
}

static enum lt_verdict try_lock(struct lt_call *c);

static enum lt_verdict was_locked(struct lt_call *c) {
    struct state_call *st = c->state;
    const struct lt_store_op *op = result_of(c);
    uint8_t jitter = 0;
    if (op->result == LT_STORE_OK) {
        lt_call_reply_field(c, LT_S("Lethe-Lock"), lt_span_cstr(st->owner));
        return done(c);
    }
    if (op->result != LT_STORE_BUSY)
        return refuse(c, op->result);
    if (lt_clock_mono() >= st->give_up || !lt_random(&jitter, 1))
        return say(c, 423, "locked", "somebody else holds the lock: try again, or wait with \"Lethe-Wait\"\n");
    return lt_call_sleep(c, RETRY_MIN_MS + jitter % RETRY_SPREAD_MS, try_lock);
}

static enum lt_verdict try_lock(struct lt_call *c) {
    struct lt_store_op *op = operation(c, LT_STORE_LOCK, id_of(c));
    if (!op)
        return no_memory(c);
    op->lease = number_of(c, LT_S("Lethe-Lease"), worker_of(c)->lock_ttl, LOCK_WAIT_MAX);
    op->lease = op->lease > 0 ? op->lease : 1;
    return run(c, op, was_locked);
}

static enum lt_verdict serve_lock(struct lt_call *c) {
    struct state_call *st = c->state;
    uint8_t random[LT_STORE_OWNER / 4 * 3];
    if (!lt_random(random, sizeof random))
        return say(c, 503, "randomness", "the system gives no random bytes: fail this request\n");
    lt_base64url_encode(random, sizeof random, st->owner);
    st->give_up = lt_clock_mono() + number_of(c, LT_S("Lethe-Wait"), 0, LOCK_WAIT_MAX);
    return try_lock(c);
}

static enum lt_verdict serve_unlock(struct lt_call *c) {
    struct state_call *st = c->state;
    return st->owner[0] ? begin(c, LT_STORE_RELEASE, was_done)
                        : say(c, 400, "owner", "write the lock's word into \"Lethe-Lock\"\n");
}

// --- adapters ---

static struct lt_span field(struct lt_call *c, struct lt_span name) {
    const struct lt_header *f = lt_headers_find(&lt_call_request(c)->headers, name);
    return f ? f->value : LT_S("");
}

static enum lt_verdict serve_adapter(struct lt_call *c) {
    bool hooked = lt_span_eq(field(c, LT_S("Lethe-Status")), LT_S("hooked"));
    state_count(c, hooked ? M_HOOKED : M_NOT_HOOKED);
    adapters_note(id_of(c), field(c, LT_S("Lethe-Store")), hooked, field(c, LT_S("Lethe-Detail")));
    return done(c);
}

// --- routes ---

static const struct route {
    const char *prefix, *suffix;
    enum lt_method method;
    lt_hook_fn *serve;
} routes[] = {
    {"/v1/sessions/", "", LT_METHOD_GET, serve_read},
    {"/v1/sessions/", "", LT_METHOD_PUT, serve_write},
    {"/v1/sessions/", "", LT_METHOD_DELETE, serve_delete},
    {"/v1/sessions/", "/touch", LT_METHOD_POST, serve_touch},
    {"/v1/sessions/", "/rename", LT_METHOD_POST, serve_rename},
    {"/v1/sessions/", "/lock", LT_METHOD_POST, serve_lock},
    {"/v1/sessions/", "/lock", LT_METHOD_DELETE, serve_unlock},
    {"/v1/adapters/", "", LT_METHOD_POST, serve_adapter},
};

// The part of the path between prefix and suffix: one segment. False: another route.
static bool matches(const struct route *r, const struct lt_h1_head *request, struct lt_span *segment) {
    struct lt_span path = request->path, prefix = lt_span_cstr(r->prefix), suffix = lt_span_cstr(r->suffix);
    if (request->method != r->method || !lt_span_starts(path, prefix) || path.n <= prefix.n + suffix.n)
        return false;
    *segment = lt_span(path.p + prefix.n, path.n - prefix.n - suffix.n);
    return memcmp(segment->p + segment->n, suffix.p, suffix.n) == 0 && lt_span_find(*segment, '/') == segment->n;
}

// The kernel's word on who is at the other end of the socket.
static bool may_ask(struct lt_call *c) {
    const struct lt_option_list *allowed = &state_conf(c)->allow_uids;
    unsigned uid;
    unsigned long long other;
    if (!lt_call_peer_uid(c, &uid))
        return true; // on 127.0.0.1: whoever shares the network namespace
    for (unsigned i = 0; i < allowed->n; i++)
        if (lt_span_to_u64(allowed->v[i], 0xfffffffeull, &other) && other == uid)
            return true;
    return uid == 0 || uid == geteuid();
}

static enum lt_verdict not_allowed(struct lt_call *c) {
    unsigned uid = 0;
    (void)lt_call_peer_uid(c, &uid);
    state_count(c, M_REFUSED);
    LT_LOG(LT_LOG_WARN, "state_api_refused", lt_fn("uid", uid),
           lt_fs("do", "if this is the application, write its user id into state_api.allow_uids"));
    return say(c, 403, "peer", "this user may not use the state API: write its id into state_api.allow_uids\n");
}

enum lt_verdict state_serve(struct lt_call *c) {
    struct state_call *st = c->state;
    struct lt_span segment, owner = field(c, LT_S("Lethe-Lock"));
    if (!may_ask(c))
        return not_allowed(c);
    memcpy(st->owner, owner.p, owner.n <= LT_STORE_OWNER ? owner.n : 0);
    for (unsigned i = 0; i < sizeof routes / sizeof *routes; i++) {
        if (!matches(&routes[i], lt_call_request(c), &segment))
            continue;
        if (!lt_span_percent_decode(segment, st->id, sizeof st->id, &st->id_size) || st->id_size == 0)
            return say(c, 400, "id", "write the session's id percent-encoded, at most 512 bytes\n");
        return routes[i].serve(c);
    }
    return say(c, 404, "route", "there is no such call: see modules/state_api/openapi.yaml\n");
}

void state_serve_done(struct lt_call *c) {
    struct state_call *st = c->state;
    if (!st)
        return;
    abandon(c);
    lt_store_op_free(st->op);
    lt_buf_fini(&st->body);
}
