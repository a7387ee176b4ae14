// SPDX-License-Identifier: Apache-2.0
// A certificate as files have it: the chain, the key, the staple (OCSP) beside it.
#pragma once

#include "config/option.h"

#include <openssl/ssl.h>
#include <time.h>

enum { LT_CERT_WHY = 512 };

struct lt_cert {
    X509 *leaf;
    STACK_OF(X509) * chain; // behind the leaf
    EVP_PKEY *key;
    unsigned char *staple; // DER of an OCSP answer, or NULL
    int staple_size;
    time_t staple_until;
};

// The two paths of "cert.pem:key.pem"; of "site.pem" twice the same.
void lt_cert_paths(struct lt_span text, struct lt_span *cert, struct lt_span *key);

// Reads "site.pem" (key and chain in one file) or "cert.pem:key.pem", and with `ocsp` "<cert>.ocsp" where it exists. False: `why` says
// what is wrong and what to write. Whatever is only doubtful (expired, an old staple) is logged.
bool lt_cert_load(struct lt_cert *c, struct lt_span text, bool ocsp, char why[LT_CERT_WHY])
    __attribute__((warn_unused_result));
void lt_cert_free(struct lt_cert *c);

// Each DNS name of the certificate in lower case, "*.example.com" as it stands.
void lt_cert_names(const struct lt_cert *c, void (*name)(void *user, struct lt_span name), void *user);

// A file's text, at most 1 MB, with a NUL; free() it. NULL: errno.
char *lt_cert_read_file(struct lt_span path, size_t *n);
