// SPDX-License-Identifier: Apache-2.0
#include "base/err.h"

#include <errno.h>

const char *lt_err_name(enum lt_err e) {
    static const char *const names[] = {
        [LT_OK] = "ok",
        [LT_ERR_MEMORY] = "memory",
        [LT_ERR_LIMIT] = "limit",
        [LT_ERR_TIMEOUT] = "timeout",
        [LT_ERR_CLOSED] = "closed",
        [LT_ERR_RESET] = "reset",
        [LT_ERR_REFUSED] = "refused",
        [LT_ERR_RESOLVE] = "resolve",
        [LT_ERR_PROTOCOL] = "protocol",
        [LT_ERR_CANCELED] = "canceled",
        [LT_ERR_IO] = "io",
    };
    return (unsigned)e < sizeof names / sizeof *names ? names[e] : "unknown";
}

enum lt_err lt_err_errno(int errno_value) {
    switch (errno_value) {
    case 0:
        return LT_OK;
    case ENOMEM:
    case ENOBUFS:
        return LT_ERR_MEMORY;
    case ETIMEDOUT:
        return LT_ERR_TIMEOUT;
    case ECONNRESET:
    case EPIPE:
        return LT_ERR_RESET;
    case ECONNREFUSED:
    case ENOENT: // a unix socket that is not there
        return LT_ERR_REFUSED;
    default:
        return LT_ERR_IO;
    }
}
