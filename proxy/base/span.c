// SPDX-License-Identifier: Apache-2.0
#include "base/span.h"

bool lt_span_eq_nocase(struct lt_span a, struct lt_span b) {
    if (a.n != b.n)
        return false;
    for (size_t i = 0; i < a.n; i++)
        if (lt_ascii_lower(a.p[i]) != lt_ascii_lower(b.p[i]))
            return false;
    return true;
}

bool lt_span_next(struct lt_span *list, struct lt_span *element) {
    while (list->n) {
        size_t comma = lt_span_find(*list, ',');
        *element = lt_span_trim(lt_span(list->p, comma));
        size_t step = comma < list->n ? comma + 1 : comma;
        list->p += step;
        list->n -= step;
        if (element->n)
            return true;
    }
    return false;
}

bool lt_span_has_token(struct lt_span list, struct lt_span token) {
    struct lt_span element;
    while (lt_span_next(&list, &element))
        if (lt_span_eq_nocase(element, token))
            return true;
    return false;
}

bool lt_span_to_u64(struct lt_span s, unsigned long long max, unsigned long long *out) {
    unsigned long long value = 0;
    if (s.n == 0)
        return false;
    for (size_t i = 0; i < s.n; i++) {
        unsigned digit = (unsigned char)s.p[i] - (unsigned)'0';
        if (digit > 9 || digit > max || value > (max - digit) / 10)
            return false;
        value = value * 10 + digit;
    }
    *out = value;
    return true;
}

struct lt_span lt_span_number(char out[LT_NUMBER_TEXT], uint64_t value) {
    char digits[LT_NUMBER_TEXT], *first = digits + sizeof digits;
    do
        *--first = (char)('0' + value % 10);
    while (value /= 10);
    size_t n = (size_t)(digits + sizeof digits - first);
    memcpy(out, first, n);
    return lt_span(out, n);
}

static int hex(char c) {
    c = lt_ascii_lower(c);
    return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

bool lt_span_percent_decode(struct lt_span s, char *out, size_t size, size_t *n) {
    *n = 0;
    for (size_t i = 0; i < s.n; i++) {
        char c = s.p[i];
        if (c == '%') {
            if (i + 2 >= s.n || hex(s.p[i + 1]) < 0 || hex(s.p[i + 2]) < 0)
                return false;
            c = (char)(hex(s.p[i + 1]) << 4 | hex(s.p[i + 2]));
            i += 2;
        }
        if (*n == size)
            return false;
        out[(*n)++] = c;
    }
    return true;
}
