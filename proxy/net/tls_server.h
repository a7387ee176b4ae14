// SPDX-License-Identifier: Apache-2.0
// What the connections of TLS listeners share: certificates by name (SNI), the keys of tickets, whose client certificates are believed.
// Read-only once it is made, so all workers share one; counted by reference, and a connection holds the one that it began with.
#pragma once

#include "config/option.h"
#include "crypto/key_ring.h"

struct lt_tls_server;

enum lt_tls_verify { LT_TLS_VERIFY_OFF, LT_TLS_VERIFY_OPTIONAL, LT_TLS_VERIFY_REQUIRE };

// Texts are NUL-terminated.
struct lt_tls_server_conf {
    const struct lt_span *certificates; // "site.pem" or "cert.pem:key.pem"; the first is shown to whoever names none of them
    unsigned n;
    bool only_1_3;
    struct lt_span ciphers, groups; // empty: good ones
    struct lt_span client_ca;       // path
    enum lt_tls_verify verify;
    bool tickets, ocsp;
    const struct lt_key_ring *ring; // NULL or empty: tickets under a key of this process's own
};

// One reference. NULL: `diag` says what is wrong with which option ("tls.certificates: …") and what to write.
struct lt_tls_server *lt_tls_server_new(const struct lt_tls_server_conf *conf, struct lt_diag *diag);
struct lt_tls_server *lt_tls_server_ref(struct lt_tls_server *s);
void lt_tls_server_put(struct lt_tls_server *s);

// The protocols offered by ALPN, the dearest first, each behind a byte with its length ("\x02h2\x08http/1.1"), before the first connection.
// At first "http/1.1" alone. A client that offers only others is refused (RFC 7301 section 3.2).
void lt_tls_server_alpn(struct lt_tls_server *s, struct lt_span list);

// Changes when one of the files that these options name is replaced or written to. 0: there are none.
uint64_t lt_tls_server_stamp(const struct lt_tls_server_conf *conf);
