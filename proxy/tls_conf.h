// SPDX-License-Identifier: Apache-2.0
// The options tls.*: TLS on listeners, and to the application.
#pragma once

#include "config/config.h"
#include "net/tls.h"
#include "net/tls_server.h"

struct lt_tls_conf {
    struct lt_option_list listen, certificates;
    int min_version;
    struct lt_span ciphers, groups, client_ca;
    int client_verify; // enum lt_tls_verify
    struct lt_span client_subject_header;
    bool tickets, ocsp;
    struct lt_span upstream_ca, upstream_cert, upstream_key, upstream_name;
    bool upstream_verify;
};

// For the table of groups.
enum { LT_TLS_ROWS = 15 };
extern const struct lt_option lt_tls_rows[LT_TLS_ROWS];
bool lt_tls_conf_check(const void *values, struct lt_diag *diag);
#define LT_TLS_OPTIONS                                                                                                 \
    { "tls", lt_tls_rows, LT_TLS_ROWS, sizeof(struct lt_tls_conf), lt_tls_conf_check }

// For the row of `upstream`: an address, "tls://" before it or not. NULL, or what to write instead.
const char *lt_upstream_check(struct lt_span text);
// Takes "tls://" off. False: it has none.
bool lt_upstream_is_tls(struct lt_span *text);

// What tls.* makes: the listeners' side, NULL without certificates; the upstream's, NULL where it is plain.
struct lt_tls_made {
    const struct lt_tls_conf *conf;
    struct lt_tls_server *server;
    struct lt_tls_context *upstream;
    struct lt_span upstream_name;
    struct lt_span subject_header; // empty: no client certificates are asked for
};

// Reads all files. `keys`: the option of the key ring; `upstream` as it was written. False: `diag` says what to mend.
bool lt_tls_make(struct lt_tls_made *made, const struct lt_tls_conf *conf, struct lt_span keys, struct lt_span upstream,
                 struct lt_diag *diag) __attribute__((warn_unused_result));
void lt_tls_unmake(struct lt_tls_made *made);

// Changes when one of its files does; 0: there are none.
uint64_t lt_tls_stamp(const struct lt_tls_conf *conf);

// May a field of a client's own have this name, or could an application take it for `header`? CGI, WSGI and their like make "_" of
// whatever is no letter and no digit.
bool lt_tls_is_forged(struct lt_span name, struct lt_span header);
