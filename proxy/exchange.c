// SPDX-License-Identifier: Apache-2.0
#include "exchange.h"

#include "base/clock.h"
#include "h2.h"

#include <assert.h>
#include <stdlib.h>

enum { ARENA_MAX = 64 << 10 }; // beyond limits.head, which is added

static void on_timer(struct lt_timer *t);
static void on_connected(struct lt_upstream_wish *wish, struct lt_upstream *u, enum lt_err e);

static const struct lt_core_conf *conf(struct lt_exchange *x) {
    return &x->generation->snapshot->core;
}

// What a head may have: a reload cannot make the worker's blocks larger.
size_t lt_exchange_head_limit(struct lt_exchange *x) {
    size_t asked = (size_t)conf(x)->limits->head, most = x->worker->blocks.size - LT_BODY_ROOM;
    return asked < most ? asked : most;
}

void lt_exchange_set_state(struct lt_exchange *x, enum lt_exchange_state next) {
    static const unsigned allowed[] = {
        [LT_X_HEAD] = 1u << LT_X_REQUEST_HOOKS | 1u << LT_X_DONE,
        [LT_X_REQUEST_HOOKS] = 1u << LT_X_CONNECT | 1u << LT_X_EVENTS | 1u << LT_X_END_HOOKS | 1u << LT_X_DONE,
        [LT_X_CONNECT] = 1u << LT_X_FORWARD | 1u << LT_X_END_HOOKS | 1u << LT_X_DONE,
        [LT_X_FORWARD] = 1u << LT_X_CONNECT | 1u << LT_X_RESPONSE_HOOKS | 1u << LT_X_END_HOOKS | 1u << LT_X_DONE,
        [LT_X_RESPONSE_HOOKS] = 1u << LT_X_RESPOND | 1u << LT_X_TUNNEL | 1u << LT_X_END_HOOKS | 1u << LT_X_DONE,
        [LT_X_RESPOND] = 1u << LT_X_END_HOOKS | 1u << LT_X_DONE,
        [LT_X_TUNNEL] = 1u << LT_X_END_HOOKS | 1u << LT_X_DONE,
        [LT_X_EVENTS] = 1u << LT_X_END_HOOKS | 1u << LT_X_DONE,
        [LT_X_END_HOOKS] = 1u << LT_X_DONE,
        [LT_X_DONE] = 0,
    };
    assert(allowed[x->state] & 1u << next);
    x->state = next;
}

static void free_now(struct lt_task *t) {
    struct lt_exchange *x = LT_ENTRY(t, struct lt_exchange, free_later);
    lt_body_fini(&x->request_body);
    lt_body_fini(&x->response_body);
    lt_arena_fini(&x->arena);
    struct lt_worker *w = x->worker;
    struct lt_generation *g = x->generation;
    if (x->request_block)
        lt_block_give(&w->blocks, x->request_block);
    if (x->response_block)
        lt_block_give(&w->blocks, x->response_block);
    lt_block_give(&w->exchanges, x->block);
    lt_generation_put(g); // may end the worker's loop
}

struct lt_exchange *lt_exchange_new(struct lt_client *c) {
    struct lt_worker *w = c->worker;
    struct lt_block *block = lt_block_take(&w->exchanges);
    if (!block)
        return NULL;
    struct lt_exchange *x = (struct lt_exchange *)block->data;
    *x = (struct lt_exchange){.block = block, .worker = w, .client = c, .peer = c->peer, .generation = w->generation};
    lt_generation_get(x->generation);
    x->began = x->active = lt_clock_mono();
    lt_arena_init(&x->arena, ARENA_MAX + 4 * (size_t)conf(x)->limits->head);
    lt_arena_lend(&x->arena, x + 1, LT_EXCHANGE_BLOCK - sizeof *x);
    lt_timer_init(&x->timer, on_timer);
    lt_task_init(&x->free_later, free_now);
    if (!lt_h1_parser_init(&x->parser, &x->request, &x->arena, false, lt_exchange_head_limit(x))) {
        free_now(&x->free_later);
        return NULL;
    }
    return x;
}

// --- the request's head ---

static void reject(struct lt_exchange *x, int status, unsigned metric, const char *reason) {
    lt_worker_count(x->worker, LT_M_REJECTS + metric, 1);
    x->outcome = LT_OUTCOME_REJECTED;
    lt_timer_clear(&x->worker->loop, &x->client->timer);
    lt_forward_identify(x);
    lt_exchange_set_state(x, LT_X_REQUEST_HOOKS);
    lt_reply(x, status, reason, NULL, lt_span(NULL, 0), true);
}

static void watch(struct lt_exchange *x) {
    lt_timer_set(&x->worker->loop, &x->timer, conf(x)->timeouts->upstream);
}

// The head is whole: everything that can be wrong with it is found out before a byte of it goes on.
static void head_done(struct lt_exchange *x) {
    struct lt_client *c = x->client;
    lt_inbox_pin(&c->in, x->request.size);
    c->state = LT_CLIENT_EXCHANGE;
    enum lt_h1_reason bad = lt_framing_request(&x->request, &x->request_framing);
    if (bad != LT_H1_OK) {
        reject(x, lt_h1_reason_status(bad), bad, lt_h1_reason_name(bad));
        return;
    }
    if (x->request.method == LT_METHOD_CONNECT) {
        reject(x, 405, LT_REJECT_METHOD, "method");
        return;
    }
    bool unknown = x->request_framing.kind == LT_BODY_NONE && !x->request_framing.upgrade &&
                   !lt_headers_get(&x->request.headers, LT_HDR_CONTENT_LENGTH);
    if (lt_client_is_h2(c) && unknown && lt_h2_has_body(c))
        x->request_framing.kind = LT_BODY_CLOSE; // it ends with the stream
    x->keep = x->request_framing.keep_alive;
    lt_body_init(&x->request_body, &x->request_framing, &x->arena);
    lt_timer_clear(&x->worker->loop, &c->timer);
    watch(x);
    lt_forward_identify(x);
    lt_exchange_set_state(x, LT_X_REQUEST_HOOKS);
    if (!lt_pipeline_init(x)) {
        lt_reply(x, 503, "memory", NULL, lt_span(NULL, 0), true);
        return;
    }
    lt_pipeline_run(x, LT_HOOK_REQUEST);
}

static void parse_head(struct lt_exchange *x) {
    struct lt_span data = lt_inbox_span(&x->client->in);
    switch (lt_h1_parse(&x->parser, &x->request, data.p, data.n)) {
    case LT_H1_MORE:
        break;
    case LT_H1_DONE:
        head_done(x);
        break;
    case LT_H1_BAD:
        lt_inbox_pin(&x->client->in, data.n);
        x->client->state = LT_CLIENT_EXCHANGE;
        reject(x,
               x->parser.reason == LT_H1_VERSION && !x->parser.version_known ? 400
                                                                             : lt_h1_reason_status(x->parser.reason),
               x->parser.reason, lt_h1_reason_name(x->parser.reason));
        break;
    }
}

void lt_exchange_head_timeout(struct lt_exchange *x) {
    x->client->state = LT_CLIENT_EXCHANGE;
    reject(x, 408, LT_REJECT_HEAD_TIMEOUT, "head-timeout");
}

void lt_exchange_client_data(struct lt_exchange *x) {
    x->active = lt_clock_mono();
    switch (x->state) {
    case LT_X_HEAD:
        parse_head(x);
        break;
    case LT_X_FORWARD:
    case LT_X_RESPONSE_HOOKS:
    case LT_X_RESPOND:
        lt_relay_request(x);
        break;
    case LT_X_TUNNEL:
        lt_tunnel_move(x);
        break;
    case LT_X_REQUEST_HOOKS:
        if (x->collect)
            lt_collect_pump(x);
        break;
    case LT_X_EVENTS:
        lt_events_client_data(x);
        break;
    default: // it waits in the inbox
        break;
    }
}

// --- the upstream ---

static bool may_retry(const struct lt_exchange *x) {
    switch (x->request.method) {
    case LT_METHOD_GET:
    case LT_METHOD_HEAD:
    case LT_METHOD_PUT:
    case LT_METHOD_DELETE:
    case LT_METHOD_OPTIONS:
    case LT_METHOD_TRACE:
        return x->request_framing.kind == LT_BODY_NONE;
    default:
        return false;
    }
}

void lt_exchange_give_upstream(struct lt_exchange *x, bool keep) {
    struct lt_upstream *u = x->upstream;
    if (!u)
        return;
    // Nothing may stand behind the answer: the next request's would be taken for it.
    keep = keep && lt_inbox_span(&u->in).n == 0 && !(u->in.full && lt_stream_has_input(&u->stream));
    x->upstream = NULL;
    u->x = NULL;
    if (x->response_started)
        x->response_block = lt_inbox_detach(&u->in);
    lt_upstream_release(u, keep);
}

// Breaks the client's connection off; the request's head stays.
static void drop_client(struct lt_exchange *x) {
    struct lt_client *c = x->client;
    x->client = NULL;
    if (!c)
        return;
    c->x = NULL;
    x->request_block = lt_inbox_detach(&c->in);
    lt_client_abort(c);
}

static void connect_new(struct lt_exchange *x) {
    x->wish.done = on_connected;
    lt_pool_connect(x->generation->pool, &x->wish);
}

static void send_request(struct lt_exchange *x, struct lt_upstream *u) {
    x->upstream = u;
    u->x = x;
    x->sent_at = lt_clock_mono();
    lt_exchange_set_state(x, LT_X_FORWARD);
    watch(x);
    lt_stream_want_read(&u->stream, true);
    lt_relay_request(x);
}

static void begin_forward(struct lt_exchange *x) {
    lt_worker_note_request(x->worker);
    if (!lt_forward_request(x)) {
        lt_reply(x, 503, "memory", NULL, lt_span(NULL, 0), true);
        return;
    }
    lt_exchange_set_state(x, LT_X_CONNECT);
    struct lt_upstream *u = lt_pool_take(x->generation->pool);
    if (u)
        send_request(x, u);
    else
        connect_new(x);
}

static void on_connected(struct lt_upstream_wish *wish, struct lt_upstream *u, enum lt_err e) {
    struct lt_exchange *x = LT_ENTRY(wish, struct lt_exchange, wish);
    if (u) {
        send_request(x, u);
        return;
    }
    x->outcome = LT_OUTCOME_UPSTREAM_FAILED;
    bool late = e == LT_ERR_TIMEOUT;
    const char *why = late ? "upstream_connect_timeout" : e == LT_ERR_PROTOCOL ? "upstream_tls" : "upstream_connect";
    lt_reply(x, late ? 504 : 502, why, NULL, lt_span(NULL, 0), false);
}

// The answer cannot be finished. With the head already out the client must see a broken connection; before that, an error.
void lt_exchange_fail(struct lt_exchange *x, int status, const char *reason) {
    x->outcome = LT_OUTCOME_UPSTREAM_FAILED;
    lt_exchange_give_upstream(x, false);
    if (x->head_released && !(x->client && x->client->stream.corked)) {
        x->reason = reason;
        drop_client(x);
        lt_exchange_finish(x);
        return;
    }
    lt_reply(x, status, reason, NULL, lt_span(NULL, 0), false);
}

void lt_exchange_upstream_failed(struct lt_exchange *x, enum lt_err e) {
    struct lt_upstream *u = x->upstream;
    if (x->state == LT_X_TUNNEL) {
        lt_exchange_give_upstream(x, false);
        lt_tunnel_move(x);
        return;
    }
    // A connection that idled too long: the app closed it just as the request went out. Nobody has seen the request.
    if (x->state == LT_X_FORWARD && u->reused && !x->response_started && !x->was_answered &&
        lt_inbox_span(&u->in).n == 0 && may_retry(x)) {
        lt_worker_count(x->worker, LT_M_UPSTREAM_RETRIES, 1);
        lt_exchange_give_upstream(x, false);
        x->head_sent = x->request_sent = false;
        x->keep = x->request_framing.keep_alive;
        if (x->client)
            lt_stream_want_read(&x->client->stream, !x->client->ended);
        lt_exchange_set_state(x, LT_X_CONNECT);
        connect_new(x);
        return;
    }
    (void)e;
    lt_exchange_fail(x, 502, "upstream_closed");
}

void lt_exchange_upstream_drained(struct lt_exchange *x) {
    x->active = lt_clock_mono();
    if (x->state == LT_X_TUNNEL)
        lt_tunnel_move(x);
    else
        lt_relay_request(x);
}

void lt_exchange_client_drained(struct lt_exchange *x) {
    x->active = lt_clock_mono();
    if (x->state == LT_X_TUNNEL)
        lt_tunnel_move(x);
    else if (x->state == LT_X_RESPOND)
        lt_relay_response(x);
}

// --- hooks ---

void lt_exchange_hooks_done(struct lt_exchange *x, enum lt_hook_kind kind) {
    if (kind == LT_HOOK_REQUEST) {
        if (!x->generation->pool)
            lt_reply(x, 404, "not_found", NULL, lt_span(NULL, 0), false);
        else
            begin_forward(x);
    } else if (kind == LT_HOOK_RESPONSE) {
        if (x->response.status == 101)
            lt_tunnel_begin(x);
        else if (lt_relay_release_head(x))
            lt_relay_response(x);
        else
            lt_exchange_fail(x, 503, "memory");
    } else if (x->upstream_ended && x->client && !x->replied) {
        lt_relay_release_tail(x);
    } else {
        lt_exchange_finish(x);
    }
}

// --- ends ---

void lt_exchange_client_gone(struct lt_exchange *x) {
    drop_client(x);
    if (x->outcome == LT_OUTCOME_OK)
        x->outcome = LT_OUTCOME_ABORTED;
    // A session's lock is held: the app finishes what it was told to do, the answer is thrown away.
    bool whole = x->request_sent || (lt_body_done(&x->request_body) && x->state != LT_X_HEAD);
    if (x->must_finish && whole && x->state < LT_X_END_HOOKS && x->state != LT_X_TUNNEL) {
        if (x->state == LT_X_RESPOND)
            lt_relay_response(x);
        return;
    }
    if (x->state != LT_X_END_HOOKS)
        lt_exchange_finish(x);
}

void lt_exchange_cut(struct lt_exchange *x) {
    if (x->state == LT_X_END_HOOKS) // it is about to end, and the client may still hear how
        return;
    drop_client(x);
    x->outcome = LT_OUTCOME_ABORTED;
    lt_exchange_finish(x);
}

// Whose silence it is: the one who does not take what is sent to him, else the one who does not send.
static void on_silence(struct lt_exchange *x, int64_t limit) {
    struct lt_stream *client = x->client ? &x->client->stream : NULL, *app = x->upstream ? &x->upstream->stream : NULL;
    bool client_behind = client && lt_stream_pending(client) && !client->corked;
    bool app_behind = app && lt_stream_pending(app);
    if ((client_behind && lt_stream_still_takes(client)) || (app_behind && lt_stream_still_takes(app))) {
        lt_timer_set(&x->worker->loop, &x->timer, limit);
    } else if (x->state == LT_X_TUNNEL || client_behind) {
        lt_exchange_client_gone(x);
    } else if (!app_behind && !x->request_sent && client && !lt_body_done(&x->request_body)) {
        x->reason = "client_timeout";
        lt_exchange_client_gone(x);
    } else {
        lt_exchange_fail(x, 504, "upstream_timeout");
    }
}

static void on_timer(struct lt_timer *t) {
    struct lt_exchange *x = LT_ENTRY(t, struct lt_exchange, timer);
    int64_t limit = x->state == LT_X_TUNNEL ? conf(x)->timeouts->tunnel : conf(x)->timeouts->upstream;
    int64_t idle = lt_clock_mono() - x->active;
    bool waits_for_hook = (x->state == LT_X_REQUEST_HOOKS && !x->collect) || x->state == LT_X_CONNECT ||
                          x->state == LT_X_RESPONSE_HOOKS || x->state == LT_X_END_HOOKS || x->state == LT_X_EVENTS;
    if (idle < limit || waits_for_hook) // those have limits of their own
        lt_timer_set(&x->worker->loop, t, idle < limit ? limit - idle : limit);
    else
        on_silence(x, limit);
}

void lt_exchange_finish(struct lt_exchange *x) {
    if (x->state == LT_X_DONE)
        return;
    if (x->wish.active)
        lt_pool_cancel(x->generation->pool, &x->wish);
    if (x->upstream) {
        bool reusable = x->state != LT_X_TUNNEL && x->upstream_ended && x->request_sent &&
                        x->response_framing.keep_alive && x->response_framing.kind != LT_BODY_CLOSE &&
                        lt_body_done(&x->response_body);
        lt_exchange_give_upstream(x, reusable);
    }
    if (x->must_finish && !x->ended_hooks) {
        x->ended_hooks = true;
        lt_pipeline_cancel(x);
        lt_exchange_set_state(x, LT_X_END_HOOKS);
        lt_pipeline_run(x, LT_HOOK_END);
        return; // hooks_done comes back here
    }
    lt_pipeline_cancel(x);
    lt_events_end(x);
    lt_tunnel_end(x);
    lt_pipeline_done(x);
    lt_exchange_set_state(x, LT_X_DONE);
    lt_timer_clear(&x->worker->loop, &x->timer);
    lt_access_record(x);
    struct lt_client *c = x->client;
    x->client = NULL;
    if (c)
        lt_client_exchange_done(c, x->keep && lt_body_done(&x->request_body), x->request_framing.last);
    lt_loop_defer(&x->worker->loop, &x->free_later);
}
