// SPDX-License-Identifier: Apache-2.0
// A view of bytes that somebody else owns: the currency of the parser. Never NUL-terminated by contract.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct lt_span {
    const char *p;
    size_t n;
};

// A span of a string literal (or of a char array with its NUL).
#define LT_S(literal) ((struct lt_span){(literal), sizeof(literal) - 1})

static inline struct lt_span lt_span(const char *p, size_t n) {
    return (struct lt_span){p, n};
}

// A span of a C string; NULL gives the empty span.
static inline struct lt_span lt_span_cstr(const char *s) {
    return (struct lt_span){s, s ? strlen(s) : 0};
}

static inline bool lt_span_eq(struct lt_span a, struct lt_span b) {
    return a.n == b.n && (a.n == 0 || memcmp(a.p, b.p, a.n) == 0);
}

static inline bool lt_span_starts(struct lt_span s, struct lt_span prefix) {
    return s.n >= prefix.n && (prefix.n == 0 || memcmp(s.p, prefix.p, prefix.n) == 0);
}

// ASCII only, whatever the locale: header names, methods and tokens are ASCII (RFC 9110 section 5.6.2).
static inline char lt_ascii_lower(char c) {
    return (char)(c >= 'A' && c <= 'Z' ? c + ('a' - 'A') : c);
}

// Equal without regard to ASCII case.
bool lt_span_eq_nocase(struct lt_span a, struct lt_span b);

// Without leading and trailing spaces and tabs (OWS, RFC 9110 section 5.6.3).
static inline struct lt_span lt_span_trim(struct lt_span s) {
    while (s.n && (s.p[0] == ' ' || s.p[0] == '\t')) {
        s.p++;
        s.n--;
    }
    while (s.n && (s.p[s.n - 1] == ' ' || s.p[s.n - 1] == '\t'))
        s.n--;
    return s;
}

// Takes the next element of a comma-separated list off `*list`, trimmed; empty elements are skipped, as
// RFC 9110 section 5.6.1.2 asks of a recipient. False when none is left. Not for values with quoted strings.
bool lt_span_next(struct lt_span *list, struct lt_span *element);

// Does the comma-separated `list` hold `token` (without regard to case)?
bool lt_span_has_token(struct lt_span list, struct lt_span token);

// An unsigned decimal number that is the whole span. False: empty, another character, or over `max`.
bool lt_span_to_u64(struct lt_span s, unsigned long long max, unsigned long long *out);

// `value` in decimal into `out`, without a NUL; its span.
enum { LT_NUMBER_TEXT = 20 };
struct lt_span lt_span_number(char out[LT_NUMBER_TEXT], uint64_t value);

// Position of `c`, or s.n when absent.
static inline size_t lt_span_find(struct lt_span s, char c) {
    const char *hit = s.n ? memchr(s.p, c, s.n) : NULL;
    return hit ? (size_t)(hit - s.p) : s.n;
}

// Percent-decodes (RFC 3986 section 2.1) into `out` of `size` bytes. False: a "%" without two hex digits, or no room.
bool lt_span_percent_decode(struct lt_span s, char *out, size_t size, size_t *n);
