// SPDX-License-Identifier: Apache-2.0
// One SSL_CTX a site. A site is a set of names: certificates with the very same names but another kind of key (RSA beside ECDSA) share
// one, and OpenSSL takes the one that the client can read. The first site takes the connection; its callback changes to the site that the
// client names.
#include "net/tls_internal.h"

#include "net/tls_cert.h"
#include "net/tls_ticket.h"

#include <ctype.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

enum { ALPN_MAX = 64, RESUME_S = 2 * 3600, NAME_MAX_DNS = 255 };

struct site {
    SSL_CTX *ctx;
    char *names; // all of them, sorted, one behind the other: what makes a site
};

struct name {
    char *text;
    unsigned site;
};

struct lt_tls_server {
    atomic_uint references;
    struct site *sites;
    struct name *names; // sorted
    struct lt_cert *certs;
    unsigned n_sites, n_names, n_certs, cap_names;
    struct lt_ticket_keys tickets;
    unsigned char alpn[ALPN_MAX];
    unsigned n_alpn;
};

static int slot = -1; // of an SSL_CTX's server

SSL_CTX *lt_tls_server_first(struct lt_tls_server *s) {
    return s->sites[0].ctx;
}

static struct lt_tls_server *server_of(SSL *ssl) {
    return SSL_CTX_get_ex_data(SSL_get_SSL_CTX(ssl), slot);
}

// --- what OpenSSL asks in a handshake ---

static int by_name(const void *a, const void *b) {
    return strcmp(((const struct name *)a)->text, ((const struct name *)b)->text);
}

static const struct name *look_up(const struct lt_tls_server *s, char *text) {
    struct name key = {.text = text};
    return s->n_names ? bsearch(&key, s->names, s->n_names, sizeof key, by_name) : NULL;
}

// Exactly, or by a wildcard for the first label.
static const struct name *find_site(const struct lt_tls_server *s, const char *asked) {
    char text[NAME_MAX_DNS + 2];
    size_t n = strlen(asked);
    if (n && asked[n - 1] == '.')
        n--;
    if (n == 0 || n > NAME_MAX_DNS)
        return NULL;
    for (size_t i = 0; i < n; i++)
        text[i] = lt_ascii_lower(asked[i]);
    text[n] = '\0';
    const struct name *found = look_up(s, text);
    char *dot = strchr(text, '.');
    if (found || !dot || dot == text)
        return found;
    *--dot = '*';
    return look_up(s, dot);
}

static int on_name(SSL *ssl, int *alert, void *arg) {
    struct lt_tls_server *s = arg;
    const char *asked = SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name);
    const struct name *found = asked ? find_site(s, asked) : NULL;
    (void)alert;
    if (!found)
        return SSL_TLSEXT_ERR_NOACK;
    if (found->site)
        SSL_set_SSL_CTX(ssl, s->sites[found->site].ctx);
    return SSL_TLSEXT_ERR_OK;
}

static int on_alpn(SSL *ssl, const unsigned char **out, unsigned char *size, const unsigned char *in, unsigned n,
                   void *arg) {
    struct lt_tls_server *s = arg;
    (void)ssl;
    int how = SSL_select_next_proto((unsigned char **)(uintptr_t)out, size, s->alpn, s->n_alpn, in, n);
    return how == OPENSSL_NPN_NEGOTIATED ? SSL_TLSEXT_ERR_OK : SSL_TLSEXT_ERR_ALERT_FATAL;
}

static int on_status(SSL *ssl, void *arg) {
    struct lt_tls_server *s = arg;
    X509 *shown = SSL_get_certificate(ssl);
    for (unsigned i = 0; i < s->n_certs; i++) {
        const struct lt_cert *c = &s->certs[i];
        if (c->leaf != shown || !c->staple || c->staple_until <= time(NULL))
            continue;
        unsigned char *copy = OPENSSL_memdup(c->staple, (size_t)c->staple_size);
        if (!copy)
            break;
        SSL_set_tlsext_status_ocsp_resp(ssl, copy, c->staple_size);
        return SSL_TLSEXT_ERR_OK;
    }
    return SSL_TLSEXT_ERR_NOACK;
}

static int on_ticket(SSL *ssl, unsigned char *name, unsigned char *iv, EVP_CIPHER_CTX *cipher, EVP_MAC_CTX *mac,
                     int issue) {
    int how = lt_ticket_keys_use(&server_of(ssl)->tickets, name, iv, cipher, mac, issue);
    // a ticket of TLS 1.3 is used once (RFC 8446 appendix C.4): who comes with one gets the next
    return how == 1 && !issue && SSL_version(ssl) >= TLS1_3_VERSION ? 2 : how;
}

// --- making it ---

static const char *reason(void) {
    const char *text = ERR_reason_error_string(ERR_peek_error());
    return text ? text : "unknown";
}

static bool complain(struct lt_diag *diag, const char *option, struct lt_span value, const char *remedy) {
    lt_diag_add(diag, "tls.%s: \"%.*s\": %s; %s", option, (int)value.n, value.n ? value.p : "", reason(), remedy);
    return false;
}

// The suites of TLS 1.3 have names of their own ("TLS_…") and a list of their own.
static bool set_ciphers(SSL_CTX *ctx, struct lt_span ciphers, struct lt_diag *diag) {
    char old[2048] = "", modern[1024] = "";
    static const char remedy[] = "write names as \"openssl ciphers\" prints them, separated by \":\"";
    if (ciphers.n >= sizeof modern)
        return complain(diag, "ciphers", ciphers, remedy);
    for (struct lt_span left = ciphers, one; left.n;) {
        size_t n = lt_span_find(left, ':'), step = n < left.n ? n + 1 : n;
        one = lt_span(left.p, n);
        left = lt_span(left.p + step, left.n - step);
        char *list = lt_span_starts(one, LT_S("TLS_")) ? modern : old;
        size_t at = strlen(list);
        snprintf(list + at, sizeof modern - at, "%s%.*s", at ? ":" : "", (int)one.n, one.p);
    }
    bool ok = SSL_CTX_set_cipher_list(ctx, *old ? old : "ECDHE+AESGCM:ECDHE+CHACHA20") == 1 &&
              (!*modern || SSL_CTX_set_ciphersuites(ctx, modern) == 1);
    return ok || complain(diag, "ciphers", ciphers, remedy);
}

static bool set_clients(SSL_CTX *ctx, const struct lt_tls_server_conf *conf, struct lt_diag *diag) {
    if (conf->verify == LT_TLS_VERIFY_OFF)
        return true;
    SSL_CTX_set_verify(
        ctx, SSL_VERIFY_PEER | (conf->verify == LT_TLS_VERIFY_REQUIRE ? SSL_VERIFY_FAIL_IF_NO_PEER_CERT : 0), NULL);
    STACK_OF(X509_NAME) *names = conf->client_ca.n ? SSL_load_client_CA_file(conf->client_ca.p) : NULL;
    if (!names || SSL_CTX_load_verify_file(ctx, conf->client_ca.p) != 1) {
        sk_X509_NAME_pop_free(names, X509_NAME_free);
        return complain(diag, "client_ca", conf->client_ca,
                        "write the path of a file with the authorities of the clients' certificates, in PEM");
    }
    SSL_CTX_set_client_CA_list(ctx, names);
    return true;
}

// A ticket proves a client certificate as well: it counts only where the same authorities are believed.
static bool set_session_context(SSL_CTX *ctx, const struct lt_tls_server_conf *conf) {
    unsigned char id[SSL_MAX_SID_CTX_LENGTH];
    size_t n = 0;
    char *text = conf->verify ? lt_cert_read_file(conf->client_ca, &n) : NULL;
    EVP_MD_CTX *hash = EVP_MD_CTX_new();
    unsigned char verify = (unsigned char)conf->verify;
    bool ok = hash && EVP_DigestInit_ex2(hash, EVP_sha256(), NULL) && EVP_DigestUpdate(hash, &verify, 1) &&
              EVP_DigestUpdate(hash, text ? text : "", n) && EVP_DigestFinal_ex(hash, id, NULL) &&
              SSL_CTX_set_session_id_context(ctx, id, sizeof id);
    EVP_MD_CTX_free(hash);
    free(text);
    return ok;
}

static void set_tickets(SSL_CTX *ctx, const struct lt_tls_server_conf *conf) {
    SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
    SSL_CTX_set_timeout(ctx, RESUME_S);
    if (!conf->tickets) {
        SSL_CTX_set_options(ctx, SSL_OP_NO_TICKET);
        SSL_CTX_set_num_tickets(ctx, 0);
    } else if (conf->ring && conf->ring->n) {
        SSL_CTX_set_tlsext_ticket_key_evp_cb(ctx, on_ticket);
    }
}

// NULL: `diag` says why.
static SSL_CTX *make_context(struct lt_tls_server *s, const struct lt_tls_server_conf *conf, struct lt_diag *diag) {
    SSL_CTX *ctx = SSL_CTX_new(TLS_server_method());
    if (!ctx) {
        lt_diag_add(diag, "tls: no memory");
        return NULL;
    }
    lt_tls_setup(ctx);
    SSL_CTX_set_min_proto_version(ctx, conf->only_1_3 ? TLS1_3_VERSION : TLS1_2_VERSION);
    SSL_CTX_set_options(ctx, SSL_OP_CIPHER_SERVER_PREFERENCE | SSL_OP_PRIORITIZE_CHACHA);
    SSL_CTX_set_max_early_data(ctx, 0); // what comes in 0-RTT can be replayed
    SSL_CTX_set_ex_data(ctx, slot, s);
    SSL_CTX_set_alpn_select_cb(ctx, on_alpn, s);
    SSL_CTX_set_tlsext_servername_callback(ctx, on_name);
    SSL_CTX_set_tlsext_servername_arg(ctx, s);
    SSL_CTX_set_tlsext_status_cb(ctx, on_status);
    SSL_CTX_set_tlsext_status_arg(ctx, s);
    set_tickets(ctx, conf);
    ERR_clear_error();
    bool ok = set_ciphers(ctx, conf->ciphers, diag) && set_clients(ctx, conf, diag) && set_session_context(ctx, conf);
    if (ok && SSL_CTX_set1_groups_list(ctx, conf->groups.n ? conf->groups.p : "X25519:P-256:P-384") != 1)
        ok = complain(diag, "groups", conf->groups, "write names like \"X25519:P-256\", separated by \":\"");
    ERR_clear_error();
    if (ok)
        return ctx;
    SSL_CTX_free(ctx);
    return NULL;
}

// --- sites ---

struct collected {
    char *v[512];
    unsigned n;
};

static void collect(void *user, struct lt_span name) {
    struct collected *c = user;
    if (c->n < sizeof c->v / sizeof *c->v && (c->v[c->n] = strndup(name.p, name.n)))
        c->n++;
}

static int by_text(const void *a, const void *b) {
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static char *join(const struct collected *c) {
    size_t n = 1;
    for (unsigned i = 0; i < c->n; i++)
        n += strlen(c->v[i]) + 1;
    char *all = calloc(1, n);
    for (unsigned i = 0, at = 0; all && i < c->n; i++)
        at += (unsigned)snprintf(all + at, n - at, "%s ", c->v[i]);
    return all;
}

// The first certificate that has a name keeps it. Takes over the text.
static bool add_name(struct lt_tls_server *s, char *text, unsigned site) {
    for (unsigned i = 0; i < s->n_names; i++)
        if (strcmp(s->names[i].text, text) == 0) {
            free(text);
            return true;
        }
    if (s->n_names == s->cap_names) {
        unsigned cap = s->cap_names ? 2 * s->cap_names : 16;
        struct name *more = realloc(s->names, cap * sizeof *more);
        if (!more) {
            free(text);
            return false;
        }
        s->names = more;
        s->cap_names = cap;
    }
    s->names[s->n_names++] = (struct name){.text = text, .site = site};
    return true;
}

// A site of the same names that has no certificate with this kind of key yet.
static struct site *partner(struct lt_tls_server *s, const char *names, const struct lt_cert *c) {
    for (unsigned i = 0; *names && i < s->n_sites; i++) {
        bool taken = false;
        if (strcmp(s->sites[i].names, names) != 0)
            continue;
        SSL_CTX_set_current_cert(s->sites[i].ctx, SSL_CERT_SET_FIRST);
        do
            taken =
                taken || EVP_PKEY_get_base_id(SSL_CTX_get0_privatekey(s->sites[i].ctx)) == EVP_PKEY_get_base_id(c->key);
        while (SSL_CTX_set_current_cert(s->sites[i].ctx, SSL_CERT_SET_NEXT) == 1);
        if (!taken)
            return &s->sites[i];
    }
    return NULL;
}

static bool use_cert(SSL_CTX *ctx, const struct lt_cert *c, struct lt_span path, struct lt_diag *diag) {
    ERR_clear_error();
    if (SSL_CTX_use_cert_and_key(ctx, c->leaf, c->key, c->chain, 1) == 1)
        return true;
    return complain(diag, "certificates", path,
                    "write a certificate that TLS clients take today (RSA of 2048 bits, or ECDSA)");
}

static bool add_cert(struct lt_tls_server *s, const struct lt_tls_server_conf *conf, struct lt_span text,
                     struct lt_diag *diag) {
    char why[LT_CERT_WHY];
    struct lt_cert *c = &s->certs[s->n_certs];
    if (!lt_cert_load(c, text, conf->ocsp, why)) {
        lt_diag_add(diag, "tls.certificates: %s", why);
        return false;
    }
    s->n_certs++;
    struct collected names = {.n = 0};
    lt_cert_names(c, collect, &names);
    qsort(names.v, names.n, sizeof *names.v, by_text);
    char *all = join(&names);
    struct site *site = all ? partner(s, all, c) : NULL;
    bool ok = all != NULL, fresh = ok && !site;
    if (fresh) {
        site = &s->sites[s->n_sites];
        *site = (struct site){.ctx = make_context(s, conf, diag), .names = all};
        ok = site->ctx != NULL;
    }
    ok = ok && use_cert(site->ctx, c, text, diag);
    for (unsigned i = 0; i < names.n; i++)
        if (ok && fresh)
            ok = add_name(s, names.v[i], s->n_sites);
        else
            free(names.v[i]);
    if (fresh)
        s->n_sites++;
    else
        free(all);
    return ok;
}

static void free_server(struct lt_tls_server *s) {
    for (unsigned i = 0; s->sites && i < s->n_sites; i++) {
        SSL_CTX_free(s->sites[i].ctx);
        free(s->sites[i].names);
    }
    for (unsigned i = 0; i < s->n_names; i++)
        free(s->names[i].text);
    for (unsigned i = 0; s->certs && i < s->n_certs; i++)
        lt_cert_free(&s->certs[i]);
    lt_ticket_keys_wipe(&s->tickets);
    free(s->sites);
    free(s->names);
    free(s->certs);
    free(s);
}

struct lt_tls_server *lt_tls_server_new(const struct lt_tls_server_conf *conf, struct lt_diag *diag) {
    struct lt_tls_server *s = calloc(1, sizeof *s);
    if (slot < 0)
        slot = SSL_CTX_get_ex_new_index(0, NULL, NULL, NULL, NULL);
    if (!s || slot < 0) {
        free(s);
        lt_diag_add(diag, "tls: no memory");
        return NULL;
    }
    s->references = 1;
    s->sites = calloc(conf->n, sizeof *s->sites);
    s->certs = calloc(conf->n, sizeof *s->certs);
    lt_tls_server_alpn(s, LT_S("\x08http/1.1"));
    bool ok = s->sites && s->certs && conf->n && (!conf->ring || lt_ticket_keys_init(&s->tickets, conf->ring));
    if (!ok)
        lt_diag_add(diag, "tls: no certificate, or no memory");
    for (unsigned i = 0; ok && i < conf->n; i++)
        ok = add_cert(s, conf, conf->certificates[i], diag);
    if (!ok) {
        free_server(s);
        return NULL;
    }
    if (s->n_names)
        qsort(s->names, s->n_names, sizeof *s->names, by_name);
    return s;
}

struct lt_tls_server *lt_tls_server_ref(struct lt_tls_server *s) {
    atomic_fetch_add(&s->references, 1);
    return s;
}

void lt_tls_server_put(struct lt_tls_server *s) {
    if (s && atomic_fetch_sub(&s->references, 1) == 1)
        free_server(s);
}

void lt_tls_server_alpn(struct lt_tls_server *s, struct lt_span list) {
    if (list.n > ALPN_MAX)
        return;
    memcpy(s->alpn, list.p, list.n);
    s->n_alpn = (unsigned)list.n;
}

// --- have the files changed? ---

// FNV-1a.
static void mix(uint64_t *stamp, const void *bytes, size_t n) {
    const unsigned char *b = bytes;
    for (size_t i = 0; i < n; i++)
        *stamp = (*stamp ^ b[i]) * UINT64_C(0x100000001b3);
}

static void stamp_file(uint64_t *stamp, struct lt_span path, const char *suffix) {
    char name[4096];
    struct stat st;
    snprintf(name, sizeof name, "%.*s%s", (int)path.n, path.n ? path.p : "", suffix);
    if (path.n == 0 || stat(name, &st) != 0) {
        mix(stamp, "-", 1);
        return;
    }
    mix(stamp, &st.st_ino, sizeof st.st_ino);
    mix(stamp, &st.st_size, sizeof st.st_size);
    mix(stamp, &st.st_mtim, sizeof st.st_mtim);
    mix(stamp, &st.st_ctim, sizeof st.st_ctim);
}

uint64_t lt_tls_server_stamp(const struct lt_tls_server_conf *conf) {
    uint64_t stamp = UINT64_C(0xcbf29ce484222325);
    if (conf->n == 0)
        return 0;
    for (unsigned i = 0; i < conf->n; i++) {
        struct lt_span cert, key;
        lt_cert_paths(conf->certificates[i], &cert, &key);
        stamp_file(&stamp, cert, "");
        if (key.p != cert.p)
            stamp_file(&stamp, key, "");
        if (conf->ocsp)
            stamp_file(&stamp, cert, ".ocsp");
    }
    stamp_file(&stamp, conf->client_ca, "");
    return stamp;
}
