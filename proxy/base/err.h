// SPDX-License-Identifier: Apache-2.0
// What can go wrong below HTTP, in one enumeration, so that a failure keeps its name on the way up.
#pragma once

enum lt_err {
    LT_OK,
    LT_ERR_MEMORY,   // no memory, or an arena's or buffer's limit
    LT_ERR_LIMIT,    // a configured maximum
    LT_ERR_TIMEOUT,  // the deadline passed
    LT_ERR_CLOSED,   // the peer ended the connection
    LT_ERR_RESET,    // the connection broke
    LT_ERR_REFUSED,  // nobody listens there
    LT_ERR_RESOLVE,  // the name has no address
    LT_ERR_PROTOCOL, // the peer said something that its protocol does not allow
    LT_ERR_CANCELED, // the caller took it back
    LT_ERR_IO,       // any other error of a system call
};

// A short word for logs: "timeout", "refused", ….
const char *lt_err_name(enum lt_err e);

// The name for an errno of a socket call.
enum lt_err lt_err_errno(int errno_value);
