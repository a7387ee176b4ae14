// SPDX-License-Identifier: Apache-2.0
#include "store/redis_conf.h"

#define AT(field) offsetof(struct redis_conf, field)

// One row an option.
// clang-format off
const struct lt_option lt_store_redis_rows[LT_STORE_REDIS_ROWS] = {
    {.name = "ca",
     .type = LT_OPT_STRING,
     .offset = AT(ca),
     .fallback = "",
     .unit = "path",
     .doc = "With `rediss://`: a PEM file with the authorities whose certificates are believed. Empty: those of the "
            "system. The server's certificate "
            "and its name are always verified."},
    {.name = "cert",
     .type = LT_OPT_STRING,
     .offset = AT(cert),
     .fallback = "",
     .unit = "path",
     .doc = "A PEM file with the certificate, and those between it and its authority, that lethe shows to Redis. "
            "Empty: none."},
    {.name = "key",
     .type = LT_OPT_STRING,
     .offset = AT(key),
     .fallback = "",
     .unit = "path",
     .doc = "A PEM file with the private key of `redis.cert`, without a pass phrase."},
    {.name = "server_name",
     .type = LT_OPT_STRING,
     .offset = AT(server_name),
     .fallback = "",
     .unit = "name",
     .doc = "The name that the server's certificate has to hold, and that is sent as SNI. Empty: the host that is "
            "connected to. Needed when Sentinel or "
            "a cluster gives addresses while the certificates have one name."},
};
// clang-format on

struct lt_tls_context *redis_conf_tls(const struct redis_conf *conf, enum lt_tls_file *wrong, const char **why) {
    struct lt_tls_files files = {0};
    if (conf)
        files = (struct lt_tls_files){.ca = conf->ca, .cert = conf->cert, .key = conf->key};
    return lt_tls_context_new(&files, wrong, why);
}

bool lt_store_redis_check(const void *values, struct lt_diag *diag) {
    static const char *const names[] = {[LT_TLS_CA] = "ca", [LT_TLS_CERT] = "cert", [LT_TLS_KEY] = "key"};
    const struct redis_conf *conf = values;
    enum lt_tls_file wrong;
    const char *why;
    if (conf->ca.n == 0 && conf->cert.n == 0 && conf->key.n == 0)
        return true;
    struct lt_tls_context *tls = redis_conf_tls(conf, &wrong, &why);
    if (!tls) {
        struct lt_span text = wrong == LT_TLS_CA ? conf->ca : wrong == LT_TLS_CERT ? conf->cert : conf->key;
        lt_diag_add(diag, "redis.%s: \"%.*s\" is no such file; %s", wrong ? names[wrong] : "ca", (int)text.n,
                    text.n ? text.p : "", why);
    }
    lt_tls_context_free(tls);
    return tls != NULL;
}
