// SPDX-License-Identifier: Apache-2.0
// TLS, non-blocking, on a connected socket: OpenSSL reads and writes the descriptor itself, so there is no copy of ours in between. Used
// by stream.c alone; everybody else gives a context to lt_stream_secure() or lt_stream_accept_secure().
//
// A client verifies its peer, unless `any_peer` says otherwise: the chain against the CA, the name or address against the certificate.
#pragma once

#include "base/err.h"
#include "base/span.h"

struct lt_tls_context; // what the connections to one service share: CA, certificate, key
struct lt_tls_server;  // what the connections of listeners share: see net/tls_server.h
struct lt_tls;         // one connection's

// Paths of PEM files, NUL-terminated. Empty: the system's authorities, no certificate of our own. `key` without `cert` is an error.
struct lt_tls_files {
    struct lt_span ca, cert, key;
    bool any_peer; // whoever answers is believed
};

// Which of the files is wrong.
enum lt_tls_file { LT_TLS_NONE, LT_TLS_CA, LT_TLS_CERT, LT_TLS_KEY };

// Reads the files. NULL: *wrong is the file that is to blame (NONE: no memory) and `why` says what to do about it.
struct lt_tls_context *lt_tls_context_new(const struct lt_tls_files *f, enum lt_tls_file *wrong, const char **why);
void lt_tls_context_free(struct lt_tls_context *c);

// The client's side on `fd`, which stays the caller's. `name`: sent as SNI and looked for in the certificate; an address (v4 or v6,
// without brackets) is looked for as such and not sent (RFC 6066 section 3). NULL: no memory, or the name is too long.
struct lt_tls *lt_tls_client(struct lt_tls_context *c, int fd, struct lt_span name);

// The server's side. Holds a reference to `s`. NULL: no memory.
struct lt_tls *lt_tls_accept(struct lt_tls_server *s, int fd);

// Says goodbye (close_notify) if that goes at once.
void lt_tls_free(struct lt_tls *t);

// No goodbye will be said: what was sent must not look complete.
void lt_tls_mute(struct lt_tls *t);

// Carries the handshake on. LT_OK with *done false: it waits for input, or for room (lt_tls_waits_for_input). LT_ERR_PROTOCOL: lt_tls_why().
enum lt_err lt_tls_handshake(struct lt_tls *t, bool *done) __attribute__((warn_unused_result));

// Behind the handshake: the protocol that ALPN agreed on ("h2"), or empty; was an earlier session resumed; the subject of the client's
// verified certificate (RFC 2253, ASCII without controls), or empty. The texts live as long as `t`.
struct lt_span lt_tls_alpn(const struct lt_tls *t);
bool lt_tls_resumed(const struct lt_tls *t);
struct lt_span lt_tls_subject(const struct lt_tls *t);

// As lt_stream_read(). The first read or write begins the handshake, each further one carries it on.
enum lt_err lt_tls_read(struct lt_tls *t, void *into, size_t size, size_t *got);

// Takes `*sent` bytes of `s`; 0: none now. What was not taken must come again, at any place in memory.
enum lt_err lt_tls_write(struct lt_tls *t, struct lt_span s, size_t *sent);

// Did the last write stop because input is needed first (the handshake)?
bool lt_tls_waits_for_input(const struct lt_tls *t);

// Are there bytes, decrypted or not, that no event of the descriptor will tell of? Only a read tells whether they are a whole record.
bool lt_tls_has_more(const struct lt_tls *t);

// What was wrong, for a person, when the handshake failed or came to no end, or after LT_ERR_PROTOCOL ("certificate has expired",
// "tlsv13 alert certificate required"); else "".
const char *lt_tls_why(const struct lt_tls *t);

// Ends the sending side (close_notify).
void lt_tls_shutdown(struct lt_tls *t);
