// SPDX-License-Identifier: Apache-2.0
// The module contract: everything that a module includes of the proxy. A module is one folder, one constant descriptor.
//
//   request:   GATE ─▶ STATE ─▶ AFFINITY ─▶ CARRIER ─▶ BODY ─▶ upstream        (on_request, in this order)
//   response:  GATE ◀─ STATE ◀─ AFFINITY ◀─ CARRIER ◀─ BODY ◀─ upstream        (on_response when the head is in, reverse order)
//   end:       GATE ◀─ STATE ◀─ AFFINITY ◀─ CARRIER ◀─ BODY                    (on_end when the upstream's last byte is in)
//   done:      on_done, exactly once for each module of which any hook ran
//
// A hook that must wait starts what it waits for and returns lt_call_wait(c, then): `then` stands right below it in the
// file and returns a verdict itself. The waited-for operation ends in lt_call_resume(c), called from the loop, never from
// inside the hook. All pointers a hook gets are valid until on_done returns.
#pragma once

#include "base/arena.h"
#include "base/log.h"
#include "base/metric.h"
#include "config/config.h"
#include "exam.h"
#include "http/cookie.h"
#include "http/h1_parse.h"
#include "net/loop.h"
#include "record.h"
#include "store/store.h"

enum lt_verdict {
    LT_NEXT,  // go on with the next module
    LT_WAIT,  // only as the value of lt_call_wait()
    LT_REPLY, // only as the value of lt_call_reply(): the module answers itself; in on_request nothing goes upstream
    LT_FAIL, // only as the value of lt_call_fail(): lethe answers with an error, or breaks the connection off when the head is out
};

// Order between modules: the smaller stands nearer to the client.
enum lt_phase { LT_PHASE_GATE, LT_PHASE_STATE, LT_PHASE_AFFINITY, LT_PHASE_CARRIER, LT_PHASE_BODY };

struct lt_call;
struct lt_module;
typedef enum lt_verdict lt_hook_fn(struct lt_call *c);

// Whom a worker serves. Only a PROXY worker has an upstream.
enum lt_role {
    LT_ROLE_PROXY, // the main listeners
    LT_ROLE_ADMIN, // the admin listener: the modules with `on_admin`
    LT_ROLE_OWN,   // the listener of one module's own (`listen`): that module alone
};

// What the whole worker offers to its modules.
struct lt_services {
    struct lt_loop *loop;
    const struct lt_config *config; // every group, by lt_config_group()
    bool carriers;                  // a module of phase CARRIER is in use: somebody carries what sessions hold
    bool exclusive;                 // a carrier wants one request at a time a session, across all replicas
    enum lt_role role;
    struct lt_span upstream;          // the application's address ("host:port", "unix:/path")
    struct lt_metrics *metrics;       // of the module that is being initialised
    struct lt_generation *generation; // for lt_services_hold
};

// Work that outlives its exchange (giving back a lock whose client has left) holds the services until it is done: they are neither
// replaced by a reload nor torn down by a drain before.
void lt_services_hold(const struct lt_services *s);
void lt_services_drop(const struct lt_services *s);

struct lt_module {
    const char *name, *summary;
    enum lt_phase phase;
    struct lt_option_group options; // prefix, rows, size of the structure
    const struct lt_metric *metrics;
    unsigned n_metrics;
    size_t worker_size, state_size; // zeroed memory a worker, an exchange
    // Rules across groups; adds to `diag`. NULL: none.
    void (*check)(const struct lt_config *config, struct lt_diag *diag);
    // Is it in use on the main listeners under this configuration? NULL: always. A module that is not costs nothing.
    bool (*enabled)(const void *conf);
    bool on_admin; // its on_request runs on the admin listener as well, whatever enabled() says
    // CARRIER, in use: is one request at a time to work on a session? NULL: yes.
    bool (*exclusive)(const void *conf);
    // The address of a listener of its own, served by a thread of its own (LT_ROLE_OWN); empty: none. `mode` of a unix socket.
    struct lt_span (*listen)(const void *conf, unsigned *mode);
    // At the start of a worker and for every new configuration. False: logged by the module, the process ends with 1 (at a reload: the old
    // configuration stays).
    bool (*worker_init)(void *worker, const void *conf, const struct lt_services *s);
    void (*worker_fini)(void *worker);
    lt_hook_fn *on_request, *on_response, *on_end;
    void (*on_done)(struct lt_call *c);
    // Looks at what the process has seen so far; from the admin thread. NULL: nothing to say.
    void (*examine)(struct lt_exam *e);
};

// The session of an exchange, made by the STATE module and filled by carriers.
struct lt_session {
    struct lt_record *record;   // what the client's token leads to after this exchange
    struct lt_record *previous; // the id moved (rotation): what the old token led to; else NULL
    bool ended;                 // logged out: the record will be a tombstone
    bool settled; // a carrier has the content for good already (in on_response): commit with the head, not at the end
    // Where `record` stands, and under which lock: for what is written behind the exchange's end (lt_later). 0: not locked.
    const struct lt_token *token;
    uint64_t fence;
    const struct lt_sessions *sessions;
};

enum lt_later_result {
    LT_LATER_SAVED,
    LT_LATER_SAME,  // there was nothing to save
    LT_LATER_ENDED, // the session has ended meanwhile
    LT_LATER_GONE,  // another request has worked on it since: that one counts
    LT_LATER_LOST,  // the store did not answer for as long as one waits for a lock
};

// One change of a session behind the end of its exchange, embedded in whatever asks for it: locks it, loads it, saves it.
struct lt_later {
    struct lt_token token;
    uint64_t fence; // of the last lock that the asker knows of; LT_LATER_SAVED and _SAME leave the newest here
    // The record is loaded and locked. True: it was changed, save it.
    bool (*amend)(struct lt_later *l, struct lt_record *r);
    // Exactly once, from the loop. May free it.
    void (*gone)(struct lt_later *l, enum lt_later_result r);
    // private
    const struct lt_sessions *sessions;
    struct lt_store_op *op;
    struct lt_timer again;
    int64_t give_up;
    enum lt_later_result result;
    char owner[LT_STORE_OWNER + 1];
};

// The STATE module's side of it; lives as long as its generation.
struct lt_sessions {
    void (*begin)(const struct lt_sessions *s, struct lt_later *l);
};

// One module's view of one exchange.
struct lt_call {
    const void *conf;
    void *worker, *state;
    struct lt_metrics *metrics;
    struct lt_exchange *x; // opaque to modules
    const struct lt_module *module;
    lt_hook_fn *then;                 // set while waiting
    void (*cancel)(struct lt_call *); // set while waiting, or NULL
    bool touched;                     // a hook of this module ran
};

// --- the process, for health and reports; from any worker ---

struct lt_process_view {
    unsigned workers;
    int64_t oldest_heartbeat; // ms since the worker that was silent longest last ran its loop; each runs it at least once a second
    bool started;             // all listeners accept
    bool draining;            // on its way out, and no other process has taken over
    int64_t uptime; // ms since the process began
};
void lt_process_look(struct lt_process_view *view);

// --- the exchange ---

struct lt_arena *lt_call_arena(struct lt_call *c);
struct lt_loop *lt_call_loop(struct lt_call *c);
struct lt_h1_head *lt_call_request(struct lt_call *c);
// NULL before on_response, and in on_end when the upstream gave no answer.
struct lt_h1_head *lt_call_response(struct lt_call *c);
// In on_end: did the application's answer come whole? If not, what it left behind may be torn: nothing of it is to be stored.
bool lt_call_answered(struct lt_call *c);
struct lt_span lt_call_id(struct lt_call *c);            // the request id, for logs
bool lt_call_is_https(struct lt_call *c);                // the client's side, as a trusted peer says
bool lt_call_peer_is_local(struct lt_call *c);           // a client on this machine: loopback or a unix socket
bool lt_call_peer_uid(struct lt_call *c, unsigned *uid); // of a client on a unix socket; false: it is on none
struct lt_session *lt_call_session(struct lt_call *c);   // NULL: none
void lt_call_set_session(struct lt_call *c, struct lt_session *s);

// --- verdicts ---

// Waits: `then` runs on lt_call_resume(). `cancel` (or NULL) runs instead if the exchange ends first.
enum lt_verdict lt_call_wait(struct lt_call *c, lt_hook_fn *then, void (*cancel)(struct lt_call *));
void lt_call_resume(struct lt_call *c);

// Waits `ms`.
enum lt_verdict lt_call_sleep(struct lt_call *c, int64_t ms, lt_hook_fn *then);

// Reads the request's whole body into `into` (the module's, whose maximum counts: beyond it 413 is answered), then goes on with
// `then`. Only in on_request, by a module that answers itself: nothing of the body is left for an upstream.
enum lt_verdict lt_call_read_body(struct lt_call *c, struct lt_buf *into, lt_hook_fn *then);

// Answers with a complete message (in on_request). `type` of the body. Texts are copied. Status 204 has none.
enum lt_verdict lt_call_reply(struct lt_call *c, int status, const char *type, struct lt_span body);

// A field for the answer of lt_call_reply() or lt_call_fail(); at most 4. The texts live as long as the exchange's arena.
void lt_call_reply_field(struct lt_call *c, struct lt_span name, struct lt_span value);

// Answers with a stream of server-sent events (in on_request), with the fields of lt_call_reply_field(). The head goes out now. `more` is
// asked at once and then every `every_ms`: what it puts into `out` (whole events) is sent, nothing is sent when it puts nothing. The
// stream ends when `more` says false, the client leaves, the process drains or takes over another configuration (the client asks again).
// A client that has not taken the last piece is not given the next one (nothing old is kept for it), and one that takes nothing for
// `timeouts.idle` is cut off. At most 8 at once a worker, then 503.
enum lt_verdict lt_call_reply_events(struct lt_call *c, int64_t every_ms,
                                     bool (*more)(struct lt_call *c, struct lt_buf *out));

// Fails the exchange: `status` (502, 503, …) and the reason that logs, metrics and X-Lethe-Error show.
enum lt_verdict lt_call_fail(struct lt_call *c, int status, const char *reason);

// --- holding (on_request or on_response, before the head is released) ---

// The response's last byte leaves only after every on_end has said NEXT; and the head waits as well as long as the whole answer is
// small (32 KB): so a redirect is not followed before the session is stored.
void lt_call_hold(struct lt_call *c, bool hold);

// Once a lock is held, the exchange is carried to its end even when the client has left: on_end runs in any case.
void lt_call_must_finish(struct lt_call *c, bool must);
