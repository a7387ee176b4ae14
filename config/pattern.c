// SPDX-License-Identifier: Apache-2.0
#include "config/pattern.h"

bool lt_pattern_matches(struct lt_span pattern, struct lt_span text) {
    if (pattern.n && pattern.p[pattern.n - 1] == '*')
        return lt_span_starts(text, lt_span(pattern.p, pattern.n - 1));
    if (pattern.n && pattern.p[0] == '*')
        return text.n >= pattern.n - 1 && memcmp(text.p + text.n - (pattern.n - 1), pattern.p + 1, pattern.n - 1) == 0;
    return lt_span_eq(text, pattern);
}

bool lt_pattern_list_matches(const struct lt_option_list *patterns, struct lt_span text) {
    if (!lt_pattern_list_may_match(patterns, text))
        return false;
    for (unsigned i = 0; i < patterns->n; i++)
        if (lt_pattern_matches(patterns->v[i], text))
            return true;
    return false;
}

void lt_pattern_list_prepare(struct lt_option_list *patterns) {
    memset(patterns->absent, 0xff, sizeof patterns->absent);
    for (unsigned i = 0; i < patterns->n; i++) {
        struct lt_span p = patterns->v[i];
        unsigned char first = p.n ? (unsigned char)p.p[0] : 0;
        if (first == '*')
            memset(patterns->absent, 0, sizeof patterns->absent);
        else
            patterns->absent[first >> 6] &= ~(UINT64_C(1) << (first & 63));
    }
}
