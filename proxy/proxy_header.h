// SPDX-License-Identifier: Apache-2.0
// The PROXY protocol header, versions 1 and 2 (HAProxy's proxy-protocol.txt), that a balancer in front sends first.
#pragma once

#include "net/address.h"

enum lt_proxy_status {
    LT_PROXY_MORE,  // not whole yet
    LT_PROXY_NAMED, // *named is the client's address; *size bytes belong to the header
    LT_PROXY_LOCAL, // UNKNOWN or LOCAL: the connection's own address counts
    LT_PROXY_BAD,   // no such header
};

enum lt_proxy_status lt_proxy_header(struct lt_span data, size_t *size, struct lt_address *named);
