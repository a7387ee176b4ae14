// SPDX-License-Identifier: Apache-2.0
#include "tests/agreement/reading.h"

#include "tests/fuzz/check.h"

void reading_reset(struct reading *r) {
    // Not the pool and not the tables: they are large, and their counters say what of them counts.
    memset(r, 0, offsetof(struct reading, fields));
    r->fields.n = r->trailers.n = 0;
    r->body = lt_span(NULL, 0);
    r->upgrade = false;
    r->end = r->pool_n = 0;
}

void reading_append(struct reading *r, struct lt_span *s, struct lt_span piece) {
    CHECK(piece.n <= POOL_MAX - r->pool_n);
    CHECK(s->n == 0 || s->p + s->n == r->pool + r->pool_n);
    if (s->n == 0)
        s->p = r->pool + r->pool_n;
    if (piece.n)
        memcpy(r->pool + r->pool_n, piece.p, piece.n);
    s->n += piece.n;
    r->pool_n += piece.n;
}

const char *reading_says(const struct reading *r) {
    switch (r->verdict) {
    case REFUSED:
        return r->error ? r->error : lt_h1_reason_name(r->reason);
    case WHOLE:
        return "accepts";
    case WITHIN_BODY:
    case WITHIN_TRAILER:
        return "accepts, wants more";
    default:
        return "wants more";
    }
}

void print_quoted(struct lt_span text) {
    putchar('"');
    for (size_t i = 0; i < text.n && i < 600; i++) {
        unsigned char c = (unsigned char)text.p[i];
        if (c == '\r' || c == '\n' || c == '\t')
            printf("\\%c", c == '\r' ? 'r' : c == '\n' ? 'n' : 't');
        else if (c < 0x20 || c >= 0x7f)
            printf("\\x%02x", c);
        else
            printf(c == '"' || c == '\\' ? "\\%c" : "%c", c);
    }
    printf(text.n > 600 ? "\"… (%zu bytes)" : "\"", text.n);
}
