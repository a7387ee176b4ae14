// SPDX-License-Identifier: Apache-2.0
#include "net/tls.h"

#include "net/tls_internal.h"

#include <arpa/inet.h>
#include <errno.h>
#include <limits.h>
#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <stdlib.h>

struct lt_tls {
    SSL *ssl;
    struct lt_tls_server *server; // NULL: we are the client
    char *subject;                // of a client's verified certificate
    bool waits_for_input, failed;
    const char *why; // OpenSSL's own text
};

enum { SUBJECT_MAX = 4096 };

// lt_tls_context is OpenSSL's own; it counts references itself, so connections may outlive it.
static SSL_CTX *ctx_of(struct lt_tls_context *c) {
    return (SSL_CTX *)(void *)c;
}

// A key with a pass phrase must not make the process ask at its terminal.
static int no_pass_phrase(char *out, int size, int writing, void *user) {
    (void)out;
    (void)size;
    (void)writing;
    (void)user;
    return 0;
}

static enum lt_tls_file read_files(SSL_CTX *ctx, const struct lt_tls_files *f, const char **why) {
    *why = "write the path of a file with the authorities' certificates in PEM";
    if (f->ca.n ? SSL_CTX_load_verify_locations(ctx, f->ca.p, NULL) != 1 : SSL_CTX_set_default_verify_paths(ctx) != 1)
        return LT_TLS_CA;
    if (f->cert.n == 0 && f->key.n == 0)
        return LT_TLS_NONE;
    *why = "write the path of a file with our certificate, and those between it and the authority, in PEM";
    if (f->cert.n == 0 || SSL_CTX_use_certificate_chain_file(ctx, f->cert.p) != 1)
        return LT_TLS_CERT;
    *why = "write the path of a file with the certificate's private key in PEM, without a pass phrase";
    if (f->key.n == 0 || SSL_CTX_use_PrivateKey_file(ctx, f->key.p, SSL_FILETYPE_PEM) != 1 ||
        SSL_CTX_check_private_key(ctx) != 1)
        return LT_TLS_KEY;
    return LT_TLS_NONE;
}

void lt_tls_setup(SSL_CTX *ctx) {
    SSL_CTX_set_options(ctx, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION);
    SSL_CTX_set_mode(ctx, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER | SSL_MODE_RELEASE_BUFFERS);
    SSL_CTX_set_read_ahead(ctx, 1); // one recv for a record's head and content
}

struct lt_tls_context *lt_tls_context_new(const struct lt_tls_files *f, enum lt_tls_file *wrong, const char **why) {
    SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());
    *wrong = LT_TLS_NONE;
    *why = "no memory";
    if (!ctx)
        return NULL;
    lt_tls_setup(ctx);
    SSL_CTX_set_min_proto_version(ctx, TLS1_2_VERSION);
    SSL_CTX_set_verify(ctx, f->any_peer ? SSL_VERIFY_NONE : SSL_VERIFY_PEER, NULL);
    SSL_CTX_set_default_passwd_cb(ctx, no_pass_phrase);
    // every connection proves itself anew: a resumed one would pass over a certificate that has expired meanwhile
    SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
    ERR_clear_error();
    *wrong = read_files(ctx, f, why);
    ERR_clear_error();
    if (*wrong == LT_TLS_NONE)
        return (struct lt_tls_context *)(void *)ctx;
    SSL_CTX_free(ctx);
    return NULL;
}

void lt_tls_context_free(struct lt_tls_context *c) {
    SSL_CTX_free(ctx_of(c));
}

static bool expect_name(SSL *ssl, struct lt_span name) {
    char text[256];
    unsigned char address[16];
    if (name.n == 0 || name.n >= sizeof text)
        return false;
    memcpy(text, name.p, name.n);
    text[name.n] = '\0';
    if (inet_pton(AF_INET, text, address) == 1 || inet_pton(AF_INET6, text, address) == 1)
        return X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(ssl), text) == 1;
    SSL_set_hostflags(ssl, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
    return SSL_set1_host(ssl, text) == 1 && SSL_set_tlsext_host_name(ssl, text) == 1;
}

struct lt_tls *lt_tls_client(struct lt_tls_context *c, int fd, struct lt_span name) {
    struct lt_tls *t = calloc(1, sizeof *t);
    SSL *ssl = SSL_new(ctx_of(c));
    if (!t || !ssl || !expect_name(ssl, name) || SSL_set_fd(ssl, fd) != 1) {
        SSL_free(ssl);
        free(t);
        return NULL;
    }
    SSL_set_connect_state(ssl);
    t->ssl = ssl;
    return t;
}

struct lt_tls *lt_tls_accept(struct lt_tls_server *s, int fd) {
    struct lt_tls *t = calloc(1, sizeof *t);
    SSL *ssl = SSL_new(lt_tls_server_first(s));
    if (!t || !ssl || SSL_set_fd(ssl, fd) != 1) {
        SSL_free(ssl);
        free(t);
        return NULL;
    }
    SSL_set_accept_state(ssl);
    t->ssl = ssl;
    t->server = lt_tls_server_ref(s);
    return t;
}

void lt_tls_mute(struct lt_tls *t) {
    t->failed = true;
}

void lt_tls_shutdown(struct lt_tls *t) {
    ERR_clear_error();
    if (!t->failed && SSL_is_init_finished(t->ssl))
        SSL_shutdown(t->ssl);
}

void lt_tls_free(struct lt_tls *t) {
    if (!t)
        return;
    lt_tls_shutdown(t);
    SSL_free(t->ssl);
    lt_tls_server_put(t->server);
    free(t->subject);
    free(t);
}

static enum lt_err protocol_failure(struct lt_tls *t) {
    unsigned long code = ERR_peek_error();
    long verdict = SSL_get_verify_result(t->ssl);
    t->failed = true;
    // an end without goodbye: whoever is in between may have cut it off
    if (ERR_GET_REASON(code) == SSL_R_UNEXPECTED_EOF_WHILE_READING)
        return LT_ERR_RESET;
    bool refused = verdict != X509_V_OK && (SSL_get_verify_mode(t->ssl) & SSL_VERIFY_PEER);
    const char *text = refused ? X509_verify_cert_error_string(verdict) : ERR_reason_error_string(code);
    t->why = text ? text : "TLS failed";
    return LT_ERR_PROTOCOL;
}

// `result` of an SSL_ call that was preceded by ERR_clear_error().
static enum lt_err judge(struct lt_tls *t, int result) {
    int saved = errno;
    switch (SSL_get_error(t->ssl, result)) {
    case SSL_ERROR_WANT_READ:
        t->waits_for_input = true;
        return LT_OK;
    case SSL_ERROR_WANT_WRITE:
        return LT_OK;
    case SSL_ERROR_ZERO_RETURN:
        return LT_ERR_CLOSED;
    case SSL_ERROR_SYSCALL:
        t->failed = true;
        return saved ? lt_err_errno(saved) : LT_ERR_RESET;
    default:
        return protocol_failure(t);
    }
}

enum lt_err lt_tls_read(struct lt_tls *t, void *into, size_t size, size_t *got) {
    ERR_clear_error();
    errno = 0;
    int n = SSL_read(t->ssl, into, size > INT_MAX ? INT_MAX : (int)size);
    *got = n > 0 ? (size_t)n : 0;
    bool waits = t->waits_for_input; // of the last write, whatever this read says
    enum lt_err e = n > 0 ? LT_OK : judge(t, n);
    t->waits_for_input = waits;
    return e;
}

// The peer has ended the connection: why, may be in an alert that we have not read (it did not like our certificate).
static enum lt_err last_words(struct lt_tls *t, enum lt_err e) {
    char byte;
    ERR_clear_error();
    int n = SSL_read(t->ssl, &byte, 1);
    return n <= 0 && SSL_get_error(t->ssl, n) == SSL_ERROR_SSL ? protocol_failure(t) : e;
}

enum lt_err lt_tls_write(struct lt_tls *t, struct lt_span s, size_t *sent) {
    ERR_clear_error();
    errno = 0;
    t->waits_for_input = false;
    int n = SSL_write(t->ssl, s.p, s.n > INT_MAX ? INT_MAX : (int)s.n);
    *sent = n > 0 ? (size_t)n : 0;
    enum lt_err e = n > 0 ? LT_OK : judge(t, n);
    return e == LT_ERR_RESET ? last_words(t, e) : e;
}

bool lt_tls_waits_for_input(const struct lt_tls *t) {
    return t->waits_for_input;
}

bool lt_tls_has_more(const struct lt_tls *t) {
    return SSL_has_pending(t->ssl);
}

const char *lt_tls_why(const struct lt_tls *t) {
    if (t->why)
        return t->why;
    return SSL_is_init_finished(t->ssl) ? "" : "the TLS handshake came to no end: is it a TLS port?";
}

// --- behind the handshake ---

static void read_subject(struct lt_tls *t, X509 *cert) {
    BIO *out = BIO_new(BIO_s_mem());
    char *text;
    if (!out)
        return;
    // RFC 2253 with every byte that is no printable ASCII escaped
    bool ok = X509_NAME_print_ex(out, X509_get_subject_name(cert), 0, XN_FLAG_RFC2253) >= 0;
    long n = BIO_get_mem_data(out, &text);
    if (ok && n > 0 && n <= SUBJECT_MAX)
        t->subject = strndup(text, (size_t)n);
    BIO_free(out);
}

// A ticket carries the client's certificate, which may have expired since.
static enum lt_err look_at_client(struct lt_tls *t) {
    X509 *cert = t->server && SSL_get_verify_mode(t->ssl) ? SSL_get0_peer_certificate(t->ssl) : NULL;
    if (!cert || SSL_get_verify_result(t->ssl) != X509_V_OK)
        return LT_OK;
    if (X509_cmp_current_time(X509_get0_notAfter(cert)) < 0) {
        t->failed = true;
        t->why = X509_verify_cert_error_string(X509_V_ERR_CERT_HAS_EXPIRED);
        return LT_ERR_PROTOCOL;
    }
    read_subject(t, cert);
    return LT_OK;
}

enum lt_err lt_tls_handshake(struct lt_tls *t, bool *done) {
    ERR_clear_error();
    errno = 0;
    t->waits_for_input = false;
    int n = SSL_do_handshake(t->ssl);
    *done = n == 1;
    return n == 1 ? look_at_client(t) : judge(t, n);
}

struct lt_span lt_tls_alpn(const struct lt_tls *t) {
    const unsigned char *name = NULL;
    unsigned n = 0;
    if (SSL_is_init_finished(t->ssl))
        SSL_get0_alpn_selected(t->ssl, &name, &n);
    return lt_span((const char *)name, n);
}

bool lt_tls_resumed(const struct lt_tls *t) {
    return SSL_session_reused(t->ssl);
}

struct lt_span lt_tls_subject(const struct lt_tls *t) {
    return lt_span_cstr(t->subject);
}
