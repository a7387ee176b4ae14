// SPDX-License-Identifier: Apache-2.0
#include "tls_conf.h"

#include "base/log.h"
#include "crypto/keys.h"
#include "http/headers.h"
#include "net/address.h"

#include <ctype.h>

#define AT(field) offsetof(struct lt_tls_conf, field)

static const char *const versions[] = {"1.2", "1.3", NULL};
static const char *const verifies[] = {"off", "optional", "require", NULL};

static const char *check_header(struct lt_span text) {
    return lt_token_ok(text) && lt_hdr_id(text) == LT_HDR_OTHER
               ? NULL
               : "write the name of a field of your own, \"X-Client-Subject\"";
}

// One row an option.
// clang-format off
const struct lt_option lt_tls_rows[LT_TLS_ROWS] = {
    {.name = "listen",
     .type = LT_OPT_LIST,
     .offset = AT(listen),
     .fallback = "",
     .max = 16,
     .unit = "addresses",
     .check = lt_address_check,
     .doc = "Where clients connect with TLS, beside `listen`. Needs `tls.certificates`."},
    {.name = "certificates",
     .type = LT_OPT_LIST,
     .offset = AT(certificates),
     .fallback = "",
     .max = 256,
     .unit = "paths",
     .doc = "PEM files, each with a certificate, those between it and its authority, and its key; or `cert.pem:key.pem`. Which one a "
            "client sees is decided by the name that it asks for (SNI); the first is for all other names. Read again within seconds when one "
            "of them changes; if the new ones are wrong, the old ones stay."},
    {.name = "min_version",
     .type = LT_OPT_ENUM,
     .offset = AT(min_version),
     .fallback = "1.2",
     .choices = versions,
     .doc = "The oldest version of TLS that clients may speak."},
    {.name = "ciphers",
     .type = LT_OPT_STRING,
     .offset = AT(ciphers),
     .fallback = "",
     .unit = "names",
     .doc = "Cipher suites as `openssl ciphers` prints them, separated by `:`; those that begin with `TLS_` are for TLS 1.3. Empty: those "
            "with forward secrecy and authenticated encryption."},
    {.name = "groups",
     .type = LT_OPT_STRING,
     .offset = AT(groups),
     .fallback = "",
     .unit = "names",
     .doc = "Groups of the key exchange, the dearest first, separated by `:`. Empty: `X25519:P-256:P-384`."},
    {.name = "client_ca",
     .type = LT_OPT_STRING,
     .offset = AT(client_ca),
     .fallback = "",
     .unit = "path",
     .doc = "A PEM file with the authorities whose client certificates are believed."},
    {.name = "client_verify",
     .type = LT_OPT_ENUM,
     .offset = AT(client_verify),
     .fallback = "off",
     .choices = verifies,
     .doc = "`require`: a client without a good certificate does not get in. `optional`: one without any does, one with a bad one does not."},
    {.name = "client_subject_header",
     .type = LT_OPT_STRING,
     .offset = AT(client_subject_header),
     .fallback = "X-Client-Subject",
     .unit = "field",
     .check = check_header,
     .doc = "With `tls.client_verify`: the request field that tells the application the subject of the client's certificate (RFC 2253, "
            "anything but ASCII escaped). Clients cannot set it: it is taken off every request first, on all listeners."},
    {.name = "tickets",
     .type = LT_OPT_BOOL,
     .offset = AT(tickets),
     .fallback = "true",
     .doc = "Session tickets, which save returning clients most of a handshake. Their keys come from `keys`, so every replica opens them."},
    {.name = "ocsp",
     .type = LT_OPT_BOOL,
     .offset = AT(ocsp),
     .fallback = "true",
     .doc = "Staples the OCSP response in `<certificate>.ocsp` (DER), where that file exists and is not out of date."},
    {.name = "upstream_ca",
     .type = LT_OPT_STRING,
     .offset = AT(upstream_ca),
     .fallback = "",
     .unit = "path",
     .doc = "With `upstream = \"tls://…\"`: a PEM file with the authorities whose certificates are believed. Empty: those of the system."},
    {.name = "upstream_cert",
     .type = LT_OPT_STRING,
     .offset = AT(upstream_cert),
     .fallback = "",
     .unit = "path",
     .doc = "A PEM file with the certificate, and those between it and its authority, that lethe shows to the application. Empty: none."},
    {.name = "upstream_key",
     .type = LT_OPT_STRING,
     .offset = AT(upstream_key),
     .fallback = "",
     .unit = "path",
     .doc = "A PEM file with the private key of `tls.upstream_cert`, without a pass phrase."},
    {.name = "upstream_name",
     .type = LT_OPT_STRING,
     .offset = AT(upstream_name),
     .fallback = "",
     .unit = "name",
     .doc = "The name that the application's certificate has to hold, and that is sent as SNI. Empty: the host in `upstream`."},
    {.name = "upstream_verify",
     .type = LT_OPT_BOOL,
     .offset = AT(upstream_verify),
     .fallback = "true",
     .doc = "Off: whoever answers at `upstream` is believed. For a test, or where nobody else can be on the way."},
};
// clang-format on

bool lt_upstream_is_tls(struct lt_span *text) {
    static const struct lt_span mark = {"tls://", 6};
    if (!lt_span_starts(*text, mark))
        return false;
    *text = lt_span(text->p + mark.n, text->n - mark.n);
    return true;
}

const char *lt_upstream_check(struct lt_span text) {
    lt_upstream_is_tls(&text);
    return lt_address_check(text) ? "write \"host:port\" (\"127.0.0.1:8080\", \"[::1]:8080\") or \"unix:/path\", with "
                                    "\"tls://\" before it for TLS"
                                  : NULL;
}

bool lt_tls_conf_check(const void *values, struct lt_diag *diag) {
    const struct lt_tls_conf *c = values;
    unsigned before = diag->n;
    if (c->listen.n && c->certificates.n == 0)
        lt_diag_add(diag, "tls.listen: there is no certificate; write tls.certificates = [\"/etc/lethe/site.pem\"]");
    if (c->client_verify != LT_TLS_VERIFY_OFF && c->client_ca.n == 0)
        lt_diag_add(diag, "tls.client_verify: nobody's certificates are believed; write tls.client_ca, a PEM file with "
                          "the clients' authorities");
    if (c->client_verify == LT_TLS_VERIFY_OFF && c->client_ca.n)
        lt_diag_add(diag, "tls.client_ca: no client certificate is asked for; write tls.client_verify = \"require\" or "
                          "\"optional\"");
    return diag->n == before;
}

static struct lt_tls_server_conf server_conf(const struct lt_tls_conf *c) {
    return (struct lt_tls_server_conf){
        .certificates = c->certificates.v,
        .n = c->certificates.n,
        .only_1_3 = c->min_version == 1,
        .ciphers = c->ciphers,
        .groups = c->groups,
        .client_ca = c->client_ca,
        .verify = (enum lt_tls_verify)c->client_verify,
        .tickets = c->tickets,
        .ocsp = c->ocsp,
    };
}

static bool make_server(struct lt_tls_made *made, struct lt_span keys, struct lt_diag *diag) {
    struct lt_tls_server_conf conf = server_conf(made->conf);
    struct lt_key_ring ring = {.n = 0};
    char why[256];
    if (keys.n && !lt_keys_load(&ring, keys, why, sizeof why)) {
        lt_diag_add(diag, "keys: %s", why);
        return false;
    }
    conf.ring = ring.n ? &ring : NULL;
    made->server = lt_tls_server_new(&conf, diag);
    lt_key_ring_wipe(&ring);
    if (made->conf->client_verify != LT_TLS_VERIFY_OFF)
        made->subject_header = made->conf->client_subject_header;
    return made->server != NULL;
}

static bool make_upstream(struct lt_tls_made *made, struct lt_span upstream, struct lt_diag *diag) {
    static const char *const names[] = {[LT_TLS_CA] = "ca", [LT_TLS_CERT] = "cert", [LT_TLS_KEY] = "key"};
    const struct lt_tls_conf *c = made->conf;
    struct lt_tls_files files = {
        .ca = c->upstream_ca, .cert = c->upstream_cert, .key = c->upstream_key, .any_peer = !c->upstream_verify};
    struct lt_span host, port;
    enum lt_tls_file wrong;
    const char *why;
    made->upstream_name = c->upstream_name;
    if (made->upstream_name.n == 0 && lt_host_port(upstream, &host, &port))
        made->upstream_name = host;
    if (made->upstream_name.n == 0) {
        lt_diag_add(diag,
                    "upstream: a unix socket has no name to look for in the certificate; write tls.upstream_name");
        return false;
    }
    made->upstream = lt_tls_context_new(&files, &wrong, &why);
    if (!made->upstream) {
        struct lt_span text = wrong == LT_TLS_CA ? files.ca : wrong == LT_TLS_CERT ? files.cert : files.key;
        lt_diag_add(diag, "tls.upstream_%s: \"%.*s\" is no such file; %s", wrong ? names[wrong] : "ca", (int)text.n,
                    text.n ? text.p : "", why);
    } else if (!c->upstream_verify) {
        LT_LOG(LT_LOG_WARN, "upstream_not_verified",
               lt_fs("why", "tls.upstream_verify is off: whoever answers is believed"));
    }
    return made->upstream != NULL;
}

bool lt_tls_make(struct lt_tls_made *made, const struct lt_tls_conf *conf, struct lt_span keys, struct lt_span upstream,
                 struct lt_diag *diag) {
    *made = (struct lt_tls_made){.conf = conf};
    bool ok = conf->certificates.n == 0 || make_server(made, keys, diag);
    if (lt_upstream_is_tls(&upstream))
        ok = make_upstream(made, upstream, diag) && ok;
    if (!ok)
        lt_tls_unmake(made);
    return ok;
}

void lt_tls_unmake(struct lt_tls_made *made) {
    lt_tls_server_put(made->server);
    lt_tls_context_free(made->upstream);
    made->server = NULL;
    made->upstream = NULL;
}

uint64_t lt_tls_stamp(const struct lt_tls_conf *conf) {
    const struct lt_span upstream[] = {conf->upstream_ca, conf->upstream_cert, conf->upstream_key};
    struct lt_tls_server_conf server = server_conf(conf);
    uint64_t stamp = lt_tls_server_stamp(&server);
    for (unsigned i = 0; i < 3; i++)
        if (upstream[i].n) {
            struct lt_tls_server_conf one = {.certificates = &upstream[i], .n = 1};
            stamp = stamp * UINT64_C(0x100000001b3) ^ lt_tls_server_stamp(&one);
        }
    return stamp;
}

bool lt_tls_is_forged(struct lt_span name, struct lt_span header) {
    if (name.n != header.n || header.n == 0)
        return false;
    for (size_t i = 0; i < name.n; i++) {
        bool plain = isalnum((unsigned char)name.p[i]), wanted = isalnum((unsigned char)header.p[i]);
        if (plain != wanted || (plain && lt_ascii_lower(name.p[i]) != lt_ascii_lower(header.p[i])))
            return false;
    }
    return true;
}
