// SPDX-License-Identifier: Apache-2.0
#include "base/route.h"

#include <ctype.h>
#include <stdio.h>

void lt_route(struct lt_span path, char out[LT_ROUTE]) {
    size_t n = path.n > 0;
    while (n < path.n && n < LT_ROUTE - 1 && (isalnum((unsigned char)path.p[n]) || strchr("._~-", path.p[n])))
        n++;
    bool plain = n && path.p[0] == '/' && (n == path.n || strchr("/?;", path.p[n]));
    snprintf(out, LT_ROUTE, "%.*s", plain ? (int)n : 5, plain ? path.p : "other");
}
