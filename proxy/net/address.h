// SPDX-License-Identifier: Apache-2.0
// Where to listen and where to connect: "host:port", "[v6]:port", "unix:/path". Names are resolved by one background
// thread and looked up again all the time, so that a loop never waits for DNS and an address may change.
#pragma once

#include "base/err.h"
#include "base/span.h"

#include <sys/socket.h>
#include <sys/un.h>
#include <netinet/in.h>

struct lt_address {
    union {
        struct sockaddr sa;
        struct sockaddr_in v4;
        struct sockaddr_in6 v6;
        struct sockaddr_un local;
        struct sockaddr_storage any;
    } u;
    socklen_t size;
};

enum { LT_ADDRESS_TEXT = 128 };

// Who a peer is, without its port: what a connection remembers of it.
struct lt_ip {
    sa_family_t family; // AF_INET (also for an IPv4 address inside IPv6), AF_INET6, AF_UNIX
    unsigned char bytes[16];
};
struct lt_ip lt_address_ip(const struct lt_address *a);
// "127.0.0.1", "::1"; "unix" for a local socket; with a NUL that the span does not count.
struct lt_span lt_ip_text(const struct lt_ip *ip, char out[LT_ADDRESS_TEXT]);

// Splits "host:port" or "[v6]:port". False: neither, or the port is not 0..65535.
bool lt_host_port(struct lt_span text, struct lt_span *host, struct lt_span *port);

// For option rows: NULL, or what to write instead.
const char *lt_address_check(struct lt_span text);

// A numeric address or a unix path, without asking anybody. False: it is a name (or malformed).
bool lt_address_parse(struct lt_span text, struct lt_address *a);

// "127.0.0.1:80", "[::1]:80", "unix:/path". Returns out.
const char *lt_address_format(const struct lt_address *a, char out[LT_ADDRESS_TEXT]);

// A block of addresses: "10.0.0.0/8", "::1", "unix" (every local socket).
struct lt_cidr {
    int family;
    unsigned char bytes[16];
    unsigned bits;
};
bool lt_cidr_parse(struct lt_span text, struct lt_cidr *c);
bool lt_cidr_holds(const struct lt_cidr *c, const struct lt_ip *ip);
const char *lt_cidr_check(struct lt_span text);

// A place to connect to, by whatever name. Reference-counted by get/put; asked from any thread.
struct lt_target;
// NULL: no memory. A name begins to be resolved at once; the same text gives the same target.
struct lt_target *lt_target_get(struct lt_span text);
void lt_target_put(struct lt_target *t);
// The `turn`-th address of the target (turns wrap round over its addresses). LT_ERR_RESOLVE: it has none (yet).
enum lt_err lt_target_address(struct lt_target *t, unsigned turn, struct lt_address *out);
// How many addresses it has now.
unsigned lt_target_count(struct lt_target *t);
const char *lt_target_text(const struct lt_target *t);
