// SPDX-License-Identifier: Apache-2.0
// Between tls.c and tls_server.c.
#pragma once

#include "net/tls_server.h"

#include <openssl/ssl.h>

// What both roles want: partial writes, buffers given back while idle, no renegotiation, no compression.
void lt_tls_setup(SSL_CTX *ctx);

// The context that a connection begins with; SNI may change it.
SSL_CTX *lt_tls_server_first(struct lt_tls_server *s);
