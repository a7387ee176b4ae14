// SPDX-License-Identifier: Apache-2.0
#include "conf.h"

#include "base/log.h"
#include "crypto/keys.h"
#include "store/redis_conf.h"

#define AT(type, field) offsetof(struct type, field)

static const char *check_listen(struct lt_span text) {
    return lt_upstream_is_tls(&text) ? "write it into tls.listen, without \"tls://\"" : lt_address_check(text);
}

// One row an option.
// clang-format off
static const struct lt_option top_options[] = {
    {.name = "listen",
     .type = LT_OPT_LIST,
     .offset = AT(lt_top_conf, listen),
     .fallback = "127.0.0.1:8080",
     .max = 16,
     .unit = "addresses",
     .check = check_listen,
     .doc = "Where clients connect: `host:port`, `[v6]:port` or `unix:/path`. Each worker thread listens on all of them. Empty: only at "
            "`tls.listen`."},
    {.name = "upstream",
     .type = LT_OPT_STRING,
     .offset = AT(lt_top_conf, upstream),
     .fallback = "",
     .required = true,
     .unit = "address",
     .check = lt_upstream_check,
     .doc = "The application beside this lethe. A name is resolved again every few seconds. `tls://host:port` speaks TLS with it (see "
            "`tls.upstream_*`)."},
    {.name = "admin",
     .type = LT_OPT_STRING,
     .offset = AT(lt_top_conf, admin),
     .fallback = "",
     .unit = "address",
     .check = lt_address_check,
     .doc =
         "Where the admin page, `/report`, `/metrics`, `/livez`, `/readyz` and `/startupz` are answered, by a thread of its "
         "own: for operators alone. Empty: nowhere."},
    {.name = "store",
     .type = LT_OPT_STRING,
     .offset = AT(lt_top_conf, store),
     .fallback = "",
     .secret = true,
     .unit = "URL",
     .doc = "Where sessions are kept: `redis://[user:password@]host:port/db`, `redis+unix:///path?db=0`, "
            "`redis+sentinel://[user:password@]host:port,host:port/mymaster/db`, "
            "`redis+cluster://[user:password@]host:port,host:port/` (`rediss` with TLS, see `redis.*`), "
            "`postgres://user:password@host:port/database`, `memcached://host:port[,host2:port]` (see stores.md); or "
            "with the client, without any server: `sealed` (an encrypted cookie) or `jwt` (a JSON Web Token, see "
            "`jwt.alg`). Empty is `sealed`."},
    {.name = "workers",
     .type = LT_OPT_INT,
     .offset = AT(lt_top_conf, workers),
     .fallback = "0",
     .max = 256,
     .unit = "threads",
     .doc = "Worker threads. 0: one for each CPU that this process may use."},
    {.name = "keys",
     .type = LT_OPT_STRING,
     .offset = AT(lt_top_conf, keys),
     .fallback = "",
     .secret = true,
     .unit = "keys",
     .doc =
         "The key ring: `id:secret` entries separated by commas or blanks; among them `file:/path` for all keys of a "
         "file and `dir:/path` for all files of a directory, in the order of their names. The first key seals, all of "
         "them open. `lethe keygen` makes one. The same ring belongs on every replica. A changed file is noticed "
         "within seconds."},
    {.name = "proxy_protocol",
     .type = LT_OPT_BOOL,
     .offset = AT(lt_top_conf, proxy_protocol),
     .fallback = "false",
     .doc = "Every connection begins with a PROXY protocol header, version 1 or 2, that names the client."},
    {.name = "http2",
     .type = LT_OPT_BOOL,
     .offset = AT(lt_top_conf, http2),
     .fallback = "true",
     .doc = "Clients may speak HTTP/2: with TLS by ALPN, in clear text with prior knowledge. The application is spoken to "
            "in HTTP/1.1."},
    {.name = "trusted_proxies",
     .type = LT_OPT_LIST,
     .offset = AT(lt_top_conf, trusted_proxies),
     .fallback = "",
     .unit = "addresses",
     .max = 64,
     .check = lt_cidr_check,
     .doc = "Peers whose `X-Forwarded-*`, `Forwarded` and `X-Request-Id` are believed and added to: addresses, blocks "
            "(`10.0.0.0/8`), or `unix`. From everybody else they are replaced."},
};
// clang-format on

#define MINUTE (60 * 1000)
#define HOUR (60 * MINUTE)

// One row an option.
// clang-format off
static const struct lt_option timeouts_options[] = {
    {.name = "head",
     .type = LT_OPT_DURATION,
     .offset = AT(lt_timeouts_conf, head),
     .fallback = "10s",
     .min = 10,
     .max = HOUR,
     .doc = "From the first byte of a request to the end of its head; then 408."},
    {.name = "idle",
     .type = LT_OPT_DURATION,
     .offset = AT(lt_timeouts_conf, idle),
     .fallback = "60s",
     .min = 10,
     .max = 24 * HOUR,
     .doc = "How long a connection, of a client or to the application, is kept without a request."},
    {.name = "upstream_connect",
     .type = LT_OPT_DURATION,
     .offset = AT(lt_timeouts_conf, upstream_connect),
     .fallback = "5s",
     .min = 10,
     .max = HOUR,
     .doc = "Connecting to the application, waiting for a free connection included; then 502 or 504. Until the "
            "application "
            "was reached for the first time, a refused connection is tried again as long as this."},
    {.name = "upstream",
     .type = LT_OPT_DURATION,
     .offset = AT(lt_timeouts_conf, upstream),
     .fallback = "60s",
     .min = 10,
     .max = 24 * HOUR,
     .doc = "Silence of the application while its answer is waited for, then 504; also of a client in the middle of a "
            "body."},
    {.name = "tunnel",
     .type = LT_OPT_DURATION,
     .offset = AT(lt_timeouts_conf, tunnel),
     .fallback = "1h",
     .min = 10,
     .max = 168 * (int64_t)HOUR,
     .doc = "Silence in both directions of an upgraded connection (WebSocket)."},
    {.name = "drain",
     .type = LT_OPT_DURATION,
     .offset = AT(lt_timeouts_conf, drain),
     .fallback = "30s",
     .min = 0,
     .max = 24 * HOUR,
     .doc = "How long a drain (SIGTERM) may take: running requests that have not ended by then are cut off."},
    {.name = "drain_quiet",
     .type = LT_OPT_DURATION,
     .offset = AT(lt_timeouts_conf, drain_quiet),
     .fallback = "3s",
     .min = 0,
     .max = 24 * HOUR,
     .doc = "A drain goes on serving, with `/readyz` failing, until no request has come for this long (at most for half "
            "of `timeouts.drain`); only then the listeners close. Longer than a balancer needs to notice: its interval "
            "of probes. 0: they close at once."},
};
// clang-format on

// One row an option.
// clang-format off
static const struct lt_option limits_options[] = {
    {.name = "head",
     .type = LT_OPT_SIZE,
     .offset = AT(lt_limits_conf, head),
     .fallback = "32k",
     .min = 1024,
     .max = 1 << 20,
     .doc = "The largest request or response head; beyond it 431, or 502. A larger value than at the start needs a "
            "restart."},
    {.name = "connections",
     .type = LT_OPT_INT,
     .offset = AT(lt_limits_conf, connections),
     .fallback = "10000",
     .min = 1,
     .max = 1000000,
     .unit = "connections",
     .doc = "Client connections of the whole process; a further one is answered 503 and closed."},
    {.name = "upstream_connections",
     .type = LT_OPT_INT,
     .offset = AT(lt_limits_conf, upstream_connections),
     .fallback = "1000",
     .min = 1,
     .max = 100000,
     .unit = "connections",
     .doc = "Connections to the application, of the whole process; further requests wait."},
};
// clang-format on

static const char *const formats[] = {"text", "json", NULL};
static const char *const levels[] = {"error", "warn", "info", "debug", NULL};

// One row an option.
// clang-format off
static const struct lt_option log_options[] = {
    {.name = "format",
     .type = LT_OPT_ENUM,
     .offset = AT(lt_log_conf, format),
     .fallback = "text",
     .choices = formats,
     .doc = "`key=value` lines or JSON objects."},
    {.name = "level",
     .type = LT_OPT_ENUM,
     .offset = AT(lt_log_conf, level),
     .fallback = "info",
     .choices = levels,
     .doc = "Events below this level are not logged."},
    {.name = "access",
     .type = LT_OPT_BOOL,
     .offset = AT(lt_log_conf, access),
     .fallback = "true",
     .doc = "One line on standard output for each exchange."},
};
// clang-format on

#define ROWS(rows) (rows), sizeof(rows) / sizeof *(rows)

// redis.* stands with the driver that reads it, tls.* in a file of its own.
const struct lt_option_group lt_core_groups[LT_CORE_GROUPS] = {
    {"", ROWS(top_options), sizeof(struct lt_top_conf), NULL},
    {"timeouts", ROWS(timeouts_options), sizeof(struct lt_timeouts_conf), NULL},
    {"limits", ROWS(limits_options), sizeof(struct lt_limits_conf), NULL},
    {"log", ROWS(log_options), sizeof(struct lt_log_conf), NULL},
    LT_TLS_OPTIONS,
    LT_STORE_REDIS_OPTIONS,
};

bool lt_core_conf_of(const struct lt_config *c, struct lt_arena *arena, bool files, struct lt_core_conf *out,
                     struct lt_diag *diag) {
    const struct lt_tls_conf *tls = lt_config_group(c, "tls");
    *out = (struct lt_core_conf){
        .top = lt_config_group(c, ""),
        .timeouts = lt_config_group(c, "timeouts"),
        .limits = lt_config_group(c, "limits"),
        .log = lt_config_group(c, "log"),
        .tls = {.conf = tls},
    };
    out->upstream = out->top->upstream;
    lt_upstream_is_tls(&out->upstream);
    out->stamp = lt_core_conf_stamp(out);
    unsigned n = out->top->trusted_proxies.n;
    out->trusted = lt_arena_zalloc(arena, (n + 1) * sizeof *out->trusted);
    if (!out->trusted) {
        lt_diag_add(diag, "no memory");
        return false;
    }
    for (unsigned i = 0; i < n; i++)
        if (lt_cidr_parse(out->top->trusted_proxies.v[i], &out->trusted[out->n_trusted]))
            out->n_trusted++;
    if (files && out->top->listen.n + tls->listen.n == 0) {
        lt_diag_add(diag, "listen: there is no address; write one here or in tls.listen");
        return false;
    }
    if (files && !lt_tls_make(&out->tls, tls, out->top->keys, out->top->upstream, diag))
        return false;
    if (out->tls.server && out->top->http2)
        lt_tls_server_alpn(out->tls.server, LT_S("\x02h2\x08http/1.1"));
    return true;
}

void lt_core_conf_fini(struct lt_core_conf *c) {
    lt_tls_unmake(&c->tls);
}

uint64_t lt_core_conf_stamp(const struct lt_core_conf *c) {
    uint64_t keys = lt_keys_stamp(c->top->keys), tls = lt_tls_stamp(c->tls.conf);
    return keys && tls ? (keys * UINT64_C(0x100000001b3)) ^ tls : keys + tls;
}

bool lt_core_trusts(const struct lt_core_conf *c, const struct lt_ip *peer) {
    for (unsigned i = 0; i < c->n_trusted; i++)
        if (lt_cidr_holds(&c->trusted[i], peer))
            return true;
    return false;
}
