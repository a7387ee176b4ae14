// SPDX-License-Identifier: Apache-2.0
// Options that are lists of patterns: "exact", "prefix*", "*suffix", "*".
#pragma once

#include "config/option.h"

bool lt_pattern_matches(struct lt_span pattern, struct lt_span text);
bool lt_pattern_list_matches(const struct lt_option_list *patterns, struct lt_span text);

// By its first character alone; nearly every cookie of a request ends here. A list that was not read by the loader always says true.
static inline bool lt_pattern_list_may_match(const struct lt_option_list *patterns, struct lt_span text) {
    unsigned char first = text.n ? (unsigned char)text.p[0] : 0;
    return !(patterns->absent[first >> 6] >> (first & 63) & 1);
}

// For the loader: notes which first characters no pattern of the list matches.
void lt_pattern_list_prepare(struct lt_option_list *patterns);
