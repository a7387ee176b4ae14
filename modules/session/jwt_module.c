// SPDX-License-Identifier: Apache-2.0
// The options jwt.*, and the public keys on the admin listener.
#include "modules/session/jwt.h"
#include "modules/session/session.h"

#define AT(field) offsetof(struct jwt_conf, field)

static const char *check_name(struct lt_span text) {
    return lt_field_value_ok(text) && text.n && text.n <= 128 ? NULL : "write 1 to 128 characters such as \"lethe\"";
}

// One row an option.
// clang-format off
static const struct lt_option options[] = {
    {.name = "alg",
     .type = LT_OPT_ENUM,
     .offset = AT(alg),
     .fallback = "dir+A256GCM",
     .choices = lt_jose_algs,
     .doc = "Of `store = \"jwt\"`: `dir+A256GCM` encrypts the token (JWE), so that the client does not see the "
            "application's cookies. `EdDSA`, `ES256` and `HS256` sign it only (JWS): whoever has it can read it. A "
            "token of "
            "another algorithm is unknown."},
    {.name = "keys",
     .type = LT_OPT_LIST,
     .offset = AT(keys),
     .fallback = "",
     .max = LT_KEYS_MAX,
     .unit = "files",
     .check = lt_jose_keys_check,
     .doc =
         "Of `EdDSA` and `ES256`: key files as `id=/path.pem`. The first one signs and is a private key, all of them "
         "verify. Their public parts are at `/.well-known/jwks.json` on the admin listener. `dir+A256GCM` and `HS256` "
         "take their keys from the ring (`keys`)."},
    {.name = "issuer",
     .type = LT_OPT_STRING,
     .offset = AT(issuer),
     .fallback = "lethe",
     .unit = "text",
     .check = check_name,
     .doc = "The claim `iss` of every token; one with another is unknown."},
    {.name = "audience",
     .type = LT_OPT_STRING,
     .offset = AT(audience),
     .fallback = "lethe",
     .unit = "text",
     .check = check_name,
     .doc = "The claim `aud` of every token; one with another is unknown. It sets applications that share keys apart."},
    {.name = "leeway",
     .type = LT_OPT_DURATION,
     .offset = AT(leeway),
     .fallback = "30s",
     .max = 3600 * 1000,
     .doc = "How far the clock of another replica may be ahead: a token whose `nbf` or `iat` lies further in the "
            "future is "
            "unknown."},
    {.name = "claims_headers",
     .type = LT_OPT_LIST,
     .offset = AT(claims_headers),
     .fallback = "",
     .max = 8,
     .unit = "headers",
     .check = jwt_check_header,
     .doc = "Verified claims that the application gets as request headers: `jti=X-Session-Id`, `iat=X-Session-Used`, "
            "`cookie.NAME=X-Name` for a cookie of the jar. What a client sends under these names is taken out of every "
            "request."},
};
// clang-format on

struct jwt_worker {
    struct jwt jwt;
};

static bool serves_keys(const struct jwt_conf *conf, const struct lt_config *config) {
    return jwt_is_store(config) && lt_jose_is_asymmetric((enum lt_jose_alg)conf->alg);
}

static void check(const struct lt_config *config, struct lt_diag *diag) {
    const struct jwt_conf *conf = lt_config_group(config, "jwt");
    struct jwt jwt;
    char error[512];
    if (!jwt_is_store(config))
        return;
    if (!serves_keys(conf, config)) {
        if (conf->keys.n)
            lt_diag_add(diag, "jwt.keys: jwt.alg = \"%s\" takes its keys from the option \"keys\"; leave jwt.keys out",
                        lt_jose_algs[conf->alg]);
        return;
    }
    if (!jwt_init(&jwt, conf, NULL, error, sizeof error))
        lt_diag_add(diag, "jwt.keys: %s", error);
    jwt_fini(&jwt);
}

static bool never(const void *conf) {
    (void)conf;
    return false; // not on the main listeners
}

static bool worker_init(void *worker, const void *conf, const struct lt_services *services) {
    struct jwt_worker *w = worker;
    char error[512] = "no memory";
    if (!serves_keys(conf, services->config))
        return true;
    if (jwt_init(&w->jwt, conf, NULL, error, sizeof error))
        return true;
    LT_LOG(LT_LOG_ERROR, "keys_failed", lt_fs("why", error));
    jwt_fini(&w->jwt);
    return false;
}

static void worker_fini(void *worker) {
    jwt_fini(&((struct jwt_worker *)worker)->jwt);
}

static enum lt_verdict on_request(struct lt_call *c) {
    const struct jwt_worker *w = c->worker;
    const struct lt_h1_head *request = lt_call_request(c);
    if (!w->jwt.conf || !lt_span_eq(request->path, LT_S("/.well-known/jwks.json")))
        return LT_NEXT;
    if (request->method != LT_METHOD_GET && request->method != LT_METHOD_HEAD)
        return lt_call_reply(c, 405, "text/plain; charset=utf-8", LT_S("write GET /.well-known/jwks.json\n"));
    struct lt_buf out;
    lt_buf_init(&out, 16 << 10);
    enum lt_verdict v = lt_jose_keys_print(&w->jwt.keys, &out)
                            ? lt_call_reply(c, 200, "application/jwk-set+json", lt_buf_span(&out))
                            : lt_call_fail(c, 503, "memory");
    lt_buf_fini(&out);
    return v;
}

const struct lt_module lt_module_jwt = {
    .name = "jwt",
    .summary = "prints the public keys of signed tokens on the admin listener",
    .phase = LT_PHASE_GATE,
    .options = {"jwt", options, sizeof options / sizeof *options, sizeof(struct jwt_conf), NULL},
    .worker_size = sizeof(struct jwt_worker),
    .check = check,
    .enabled = never,
    .on_admin = true,
    .worker_init = worker_init,
    .worker_fini = worker_fini,
    .on_request = on_request,
};
