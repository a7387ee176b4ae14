// SPDX-License-Identifier: Apache-2.0
#include "http/trace.h"

// "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
enum { VERSION = 0, TRACE = 3, PARENT = 36, FLAGS = 53, SIZE = 55, PARENT_ID = 16 };

// Lower-case only: section 3.2.2.
static bool is_hex(const char *p, size_t n) {
    for (size_t i = 0; i < n; i++)
        if (!((p[i] >= '0' && p[i] <= '9') || (p[i] >= 'a' && p[i] <= 'f')))
            return false;
    return true;
}

static bool is_zero(const char *p, size_t n) {
    for (size_t i = 0; i < n; i++)
        if (p[i] != '0')
            return false;
    return true;
}

bool lt_trace_id(struct lt_span value, char id[LT_TRACE_ID + 1]) {
    const char *p = value.p;
    if (value.n < SIZE || p[TRACE - 1] != '-' || p[PARENT - 1] != '-' || p[FLAGS - 1] != '-')
        return false;
    if (!is_hex(p + VERSION, 2) || !is_hex(p + TRACE, LT_TRACE_ID) || !is_hex(p + PARENT, PARENT_ID) ||
        !is_hex(p + FLAGS, 2))
        return false;
    if (is_zero(p + TRACE, LT_TRACE_ID) || is_zero(p + PARENT, PARENT_ID))
        return false;
    bool known = is_zero(p + VERSION, 2), forbidden = p[0] == 'f' && p[1] == 'f';
    if (forbidden || (value.n > SIZE && (known || p[SIZE] != '-'))) // later versions may add fields behind a dash
        return false;
    memcpy(id, p + TRACE, LT_TRACE_ID);
    id[LT_TRACE_ID] = '\0';
    return true;
}
