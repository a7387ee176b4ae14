// SPDX-License-Identifier: Apache-2.0
// Runs one module with no proxy around it: no listener, no upstream, and a clock that the test holds in its hand. This file
// implements what module.h promises to a module, so a test links the module and lethe_rig_module, not lethe_proxy.
//
//   struct rig *r = rig_new(&(struct rig_setup){.module = &lt_module_sticky, .flags = RIG_FLAGS("--sticky.routes=SID")});
//   struct rig_exchange *x = rig_exchange_new(r);
//   cr_assert_eq(rig_request(x, "GET / HTTP/1.1\nHost: a\nCookie: AWSALB=1; b=2\n"), LT_NEXT);
//   cr_assert_str_eq(rig_request_field(x, "Cookie"), "b=2");
//   rig_response(x, "HTTP/1.1 200 OK\n");
//   rig_end(x);
//   rig_exchange_free(x);
//   rig_free(r);
//
// It watches over the contract and aborts with a line on stderr when the module breaks it: a verdict that no lt_call_* made,
// a resume from inside a hook or of a call that does not wait, a reply that is not in on_request, services still held at the end.
#pragma once

#include "module.h"

// --- the worker ---

struct rig_setup {
    const struct lt_module *module;
    const char *const *flags; // RIG_FLAGS(…) or NULL. Known: the module's own options, and --upstream, --store, --keys
    bool exclusive;           // for struct lt_services, and its `carriers`
    enum lt_role role;
};

#define RIG_FLAGS(...) ((const char *const[]){__VA_ARGS__, NULL})

// To be read; nothing in it is for a test to change.
struct rig {
    const struct lt_module *module;
    const void *conf; // the module's options
    void *worker;     // its worker memory
    bool enabled;     // is it in use on the main listeners? It runs here in any case
    struct lt_services services;
    struct lt_loop loop;
    struct lt_config config;
    struct lt_metrics metrics;
    unsigned held;      // lt_services_hold() without its lt_services_drop()
    unsigned exchanges; // not yet freed
};

// Starts the clocks (mono 1,000,000 ms; wall 1,700,000,000,000 ms), loads the options and runs worker_init. NULL: worker_init said
// no. Aborts when an option is wrong: see rig_findings(). One rig at a time in a process.
struct rig *rig_new(const struct rig_setup *setup);

// Runs worker_fini, gives the real clocks back. All exchanges must have been freed, and nothing may hold the services.
void rig_free(struct rig *r);

// What lt_config_load() and the module's check() say of these flags: one line a finding, "" when all is well. Valid until the next call.
const char *rig_findings(const struct rig_setup *setup);

// What lt_process_look() shows: one worker that has just been seen, started, not draining. A test may write into it.
extern struct lt_process_view rig_process;

// --- time ---

// Everything that is due now, until nothing more is: deferred tasks, timers, what is ready on a socket.
void rig_turn(struct rig *r);

// Moves both clocks on; every timer on the way fires at its own time (up to LT_WHEEL_TICK_MS late, as always).
void rig_advance(struct rig *r, int64_t ms);

// --- the metrics ---

// The value of a counter or gauge; `labels` as in its row ("side=\"request\""), NULL for none. Aborts when there is no such row.
int64_t rig_metric(const struct rig *r, const char *name, const char *labels);

// --- an exchange ---

// How it goes is read from here. For the test to set, before rig_request(): `https`, `memory`, and `session` when the module is a carrier.
struct rig_exchange {
    struct rig *rig;
    struct lt_call call; // .state: the module's, NULL before its first hook
    struct lt_arena arena;
    struct lt_h1_head request, response;
    bool https;
    int peer_uid;                // -1 (as made): not on a unix socket
    struct lt_span request_body; // for lt_call_read_body(), given piece by piece of `piece` bytes (0: whole)
    size_t piece;
    struct lt_session *session;
    int64_t memory; // what the arena still gives to each hook or continuation, in bytes; -1 (as made): plenty
    bool hold, must_finish;
    enum lt_verdict verdict; // LT_WAIT: it waits; else of the last hook
    int status;              // with LT_REPLY and LT_FAIL
    const char *reason;      // with LT_FAIL
    const char *type, *body; // with LT_REPLY; NUL-terminated copies
    struct lt_headers extra; // what lt_call_reply_field() added
    size_t body_size;
    // private
    enum rig_stage { RIG_FRESH, RIG_REQUEST, RIG_RESPONSE, RIG_END, RIG_DONE } stage;
    bool in_hook, replied, failed, closing;
    struct lt_timer sleep;
    struct lt_buf *read_into;
    struct lt_task read;
};

struct rig_exchange *rig_exchange_new(struct rig *r);

// The hooks, in the order of a request's life; each returns how it stands then. A later hook is run only after LT_NEXT; rig_end()
// may also follow rig_request() at once: the upstream gave no answer, as long as must_finish is set (else the proxy runs no on_end).
//
// `head` is the message's head with "\n" for each line's end; the empty line at the end may be left out. It must be one that the
// strict parser takes.
enum lt_verdict rig_request(struct rig_exchange *x, const char *head);
enum lt_verdict rig_response(struct rig_exchange *x, const char *head);
enum lt_verdict rig_end(struct rig_exchange *x);

// The exchange is over, however it stands, as in lt_exchange_finish(): a waiting on_request or on_response is cancelled, on_end runs if it
// must finish and has not, then on_done. False: on_end waits, which is never cancelled; on_done follows by itself when it goes on.
// A second call does nothing. (A client that leaves an exchange that must finish changes nothing: go on with rig_response().)
bool rig_close(struct rig_exchange *x);

// Closes it if that was not done, and frees it. Aborts when its on_end still waits.
void rig_exchange_free(struct rig_exchange *x);

// For modules that do open a socket: runs the loop until `x` waits no more. False: not within 10 s of real time.
bool rig_wait(struct rig_exchange *x);

// The head as it would be written now, "\n" for each line's end, the empty line included. In the exchange's arena.
const char *rig_request_text(struct rig_exchange *x);
const char *rig_response_text(struct rig_exchange *x);

// The values of all fields of this name that would be written, a "\n" between two. NULL: there is none. In the exchange's arena.
const char *rig_request_field(struct rig_exchange *x, const char *name);
const char *rig_response_field(struct rig_exchange *x, const char *name);

// The value of a field that lt_call_reply_field() added; NULL: there is none. In the exchange's arena.
const char *rig_reply_field(struct rig_exchange *x, const char *name);

// --- the log ---

// From begin to end, the events (stderr) are kept; end returns them, one line each. Valid until the next begin.
void rig_log_begin(void);
const char *rig_log_end(void);
