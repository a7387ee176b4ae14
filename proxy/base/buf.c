// SPDX-License-Identifier: Apache-2.0
#include "base/buf.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

void lt_buf_fini(struct lt_buf *b) {
    free(b->p);
    *b = (struct lt_buf){.max = b->max};
}

char *lt_buf_reserve(struct lt_buf *b, size_t n) {
    if (n > b->max - b->len)
        return NULL;
    if (b->off && b->off + b->len + n > b->cap) {
        memmove(b->p, b->p + b->off, b->len);
        b->off = 0;
    }
    if (b->len + n > b->cap) {
        size_t cap = b->cap ? b->cap * 2 : 256;
        while (cap < b->len + n)
            cap *= 2;
        char *p = realloc(b->p, cap);
        if (!p)
            return NULL;
        b->p = p;
        b->cap = cap;
    }
    return b->p + b->off + b->len;
}

bool lt_buf_append(struct lt_buf *b, struct lt_span s) {
    char *at = lt_buf_reserve(b, s.n);
    if (!at)
        return s.n == 0;
    if (s.n)
        memcpy(at, s.p, s.n);
    b->len += s.n;
    return true;
}

bool lt_buf_printf(struct lt_buf *b, const char *format, ...) {
    va_list args, again;
    va_start(args, format);
    va_copy(again, args);
    int n = vsnprintf(NULL, 0, format, args);
    va_end(args);
    char *at = n < 0 ? NULL : lt_buf_reserve(b, (size_t)n + 1);
    if (at) {
        vsnprintf(at, (size_t)n + 1, format, again);
        b->len += (size_t)n;
    }
    va_end(again);
    return at != NULL;
}
