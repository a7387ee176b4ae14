// SPDX-License-Identifier: Apache-2.0
#include "net/tls_cert.h"

#include "base/log.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <openssl/err.h>
#include <openssl/ocsp.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { FILE_MAX = 1 << 20, CLOCKS_APART_S = 300 };

char *lt_cert_read_file(struct lt_span path, size_t *n) {
    char name[PATH_MAX], *text = NULL;
    if (path.n == 0 || path.n >= sizeof name) {
        errno = path.n ? ENAMETOOLONG : ENOENT;
        return NULL;
    }
    snprintf(name, sizeof name, "%.*s", (int)path.n, path.p);
    int fd = open(name, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return NULL;
    text = malloc(FILE_MAX + 1);
    ssize_t got = 0;
    *n = 0;
    while (text && *n < FILE_MAX && (got = read(fd, text + *n, FILE_MAX - *n)) > 0)
        *n += (size_t)got;
    int saved = text ? got < 0 ? errno : *n == FILE_MAX ? EFBIG : 0 : ENOMEM;
    close(fd);
    if (saved) {
        if (text)
            OPENSSL_cleanse(text, *n);
        free(text);
        errno = saved;
        return NULL;
    }
    text[*n] = '\0';
    return text;
}

void lt_cert_paths(struct lt_span text, struct lt_span *cert, struct lt_span *key) {
    size_t colon = lt_span_find(text, ':');
    *cert = *key = text;
    if (colon == text.n)
        return;
    *cert = lt_span(text.p, colon);
    *key = lt_span(text.p + colon + 1, text.n - colon - 1);
}

static const char *reason(void) {
    const char *text = ERR_reason_error_string(ERR_peek_error());
    return text ? text : "unknown";
}

static bool refuse(char why[LT_CERT_WHY], struct lt_span path, const char *what, const char *cause, const char *remedy) {
    snprintf(why, LT_CERT_WHY, "\"%.*s\": %s (%s); %s", (int)path.n, path.p, what, cause, remedy);
    return false;
}

// A key with a pass phrase must not make the process ask at its terminal.
static int no_pass_phrase(char *out, int size, int writing, void *user) {
    (void)out;
    (void)size;
    (void)writing;
    (void)user;
    return 0;
}

static bool read_chain(struct lt_cert *c, BIO *in, struct lt_span path, char why[LT_CERT_WHY]) {
    static const char remedy[] = "write a file with the certificate and those between it and its authority, in PEM";
    c->leaf = PEM_read_bio_X509(in, NULL, no_pass_phrase, NULL);
    c->chain = sk_X509_new_null();
    if (!c->leaf || !c->chain)
        return refuse(why, path, "there is no certificate in it", reason(), remedy);
    X509 *next;
    while ((next = PEM_read_bio_X509(in, NULL, no_pass_phrase, NULL)))
        if (!sk_X509_push(c->chain, next)) {
            X509_free(next);
            return refuse(why, path, "cannot be read", "no memory", remedy);
        }
    if (ERR_GET_REASON(ERR_peek_last_error()) != PEM_R_NO_START_LINE)
        return refuse(why, path, "one of its certificates is broken", reason(), remedy);
    ERR_clear_error();
    return true;
}

static bool read_key(struct lt_cert *c, BIO *in, struct lt_span path, char why[LT_CERT_WHY]) {
    c->key = PEM_read_bio_PrivateKey(in, NULL, no_pass_phrase, NULL);
    if (!c->key)
        return refuse(why, path, "there is no private key in it", reason(),
                      "write the key into the certificate's file, without a pass phrase, or \"cert.pem:key.pem\"");
    if (X509_check_private_key(c->leaf, c->key) != 1)
        return refuse(why, path, "the key does not belong to the certificate", reason(),
                      "write the certificate and its own key; the first certificate of the file must be the server's");
    return true;
}

static bool read_pem(struct lt_cert *c, struct lt_span path, bool key, char why[LT_CERT_WHY]) {
    size_t n;
    char *text = lt_cert_read_file(path, &n);
    if (!text)
        return refuse(why, path, "cannot be read", strerror(errno),
                      "write the path of a PEM file that lethe may read, or \"cert.pem:key.pem\"");
    BIO *in = BIO_new_mem_buf(text, (int)n);
    ERR_clear_error();
    bool ok = in ? (key ? read_key(c, in, path, why) : read_chain(c, in, path, why))
                 : refuse(why, path, "cannot be read", "no memory", "try again");
    ERR_clear_error();
    BIO_free(in);
    OPENSSL_cleanse(text, n);
    free(text);
    return ok;
}

// --- what is only doubtful ---

static void warn_of_dates(const struct lt_cert *c, struct lt_span path) {
    const char *what = X509_cmp_current_time(X509_get0_notAfter(c->leaf)) < 0    ? "it has expired"
                       : X509_cmp_current_time(X509_get0_notBefore(c->leaf)) > 0 ? "it is not valid yet"
                                                                                 : NULL;
    if (what)
        LT_LOG(LT_LOG_WARN, "tls_certificate", lt_f("path", path), lt_fs("why", what),
               lt_fs("do", "put a new certificate there: it is noticed within seconds; clients refuse this one"));
}

static time_t time_of(const ASN1_TIME *t) {
    int days = 0, seconds = 0;
    return t && ASN1_TIME_diff(&days, &seconds, NULL, t) ? time(NULL) + (time_t)days * 86400 + seconds : 0;
}

// NULL: it may be stapled, and *until says how long.
static const char *doubt(OCSP_RESPONSE *response, X509 *leaf, time_t *until) {
    OCSP_BASICRESP *basic =
        OCSP_response_status(response) == OCSP_RESPONSE_STATUS_SUCCESSFUL ? OCSP_response_get1_basic(response) : NULL;
    const char *why = basic ? NULL : "the authority's answer is an error";
    bool found = false;
    for (int i = 0; basic && i < OCSP_resp_count(basic); i++) {
        OCSP_SINGLERESP *one = OCSP_resp_get0(basic, i);
        ASN1_INTEGER *serial = NULL;
        ASN1_GENERALIZEDTIME *next = NULL;
        OCSP_id_get0_info(NULL, NULL, NULL, &serial, (OCSP_CERTID *)(uintptr_t)OCSP_SINGLERESP_get0_id(one));
        if (!serial || ASN1_INTEGER_cmp(serial, X509_get0_serialNumber(leaf)) != 0)
            continue;
        found = true;
        OCSP_single_get0_status(one, NULL, NULL, NULL, &next);
        *until = next ? time_of(next) : time(NULL) + 86400;
        if (*until <= time(NULL))
            why = "it is out of date";
    }
    OCSP_BASICRESP_free(basic);
    return why ? why : found ? NULL : "it is about another certificate";
}

static void read_staple(struct lt_cert *c, struct lt_span cert) {
    char path[PATH_MAX];
    size_t n;
    int length = snprintf(path, sizeof path, "%.*s.ocsp", (int)cert.n, cert.p);
    char *text = length < (int)sizeof path ? lt_cert_read_file(lt_span_cstr(path), &n) : NULL;
    if (!text && errno == ENOENT)
        return;
    const char *why = text ? NULL : strerror(errno);
    const unsigned char *at = (const unsigned char *)text;
    n = text ? n : 0;
    OCSP_RESPONSE *response = text ? d2i_OCSP_RESPONSE(NULL, &at, (long)n) : NULL;
    if (text && !response)
        why = "it is no OCSP response in DER";
    if (response)
        why = doubt(response, c->leaf, &c->staple_until);
    OCSP_RESPONSE_free(response);
    ERR_clear_error();
    if (!why && (c->staple = OPENSSL_memdup(text, n)))
        c->staple_size = (int)n;
    free(text);
    if (why)
        LT_LOG(LT_LOG_WARN, "tls_staple", lt_fs("path", path), lt_fs("why", why),
               lt_fs("do", "fetch it anew (openssl ocsp … -respout FILE) or remove it; nothing is stapled meanwhile"));
}

bool lt_cert_load(struct lt_cert *c, struct lt_span text, bool ocsp, char why[LT_CERT_WHY]) {
    struct lt_span cert, key;
    lt_cert_paths(text, &cert, &key);
    *c = (struct lt_cert){.leaf = NULL};
    if (!read_pem(c, cert, false, why) || !read_pem(c, key, true, why)) {
        lt_cert_free(c);
        return false;
    }
    warn_of_dates(c, cert);
    if (ocsp)
        read_staple(c, cert);
    return true;
}

void lt_cert_free(struct lt_cert *c) {
    X509_free(c->leaf);
    sk_X509_pop_free(c->chain, X509_free);
    EVP_PKEY_free(c->key);
    OPENSSL_free(c->staple);
    *c = (struct lt_cert){.leaf = NULL};
}

void lt_cert_names(const struct lt_cert *c, void (*name)(void *user, struct lt_span name), void *user) {
    GENERAL_NAMES *all = X509_get_ext_d2i(c->leaf, NID_subject_alt_name, NULL, NULL);
    for (int i = 0; all && i < sk_GENERAL_NAME_num(all); i++) {
        const GENERAL_NAME *g = sk_GENERAL_NAME_value(all, i);
        char text[256];
        if (g->type != GEN_DNS)
            continue;
        int n = ASN1_STRING_length(g->d.dNSName);
        if (n <= 0 || n >= (int)sizeof text)
            continue;
        for (int j = 0; j < n; j++)
            text[j] = (char)tolower(ASN1_STRING_get0_data(g->d.dNSName)[j]);
        name(user, lt_span(text, (size_t)n));
    }
    GENERAL_NAMES_free(all);
}
