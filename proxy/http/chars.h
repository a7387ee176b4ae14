// SPDX-License-Identifier: Apache-2.0
// What a byte may be part of: one table for the whole parser.
#pragma once

enum {
    LT_CHAR_TOKEN = 1,  // RFC 9110 section 5.6.2
    LT_CHAR_VALUE = 2,  // a field value: visible ASCII, obs-text, SP, HTAB (section 5.5)
    LT_CHAR_TARGET = 4, // a request target: visible ASCII but "#", which ends a URI
    LT_CHAR_HOST = 8,   // a host as RFC 3986 reg-name has it, without "[", "]", ":" and percent-encoding
    LT_CHAR_DIGIT = 16,
    LT_CHAR_HEX = 32,
    LT_CHAR_COOKIE = 64, // a cookie-octet (RFC 6265 section 4.1.1)
};

extern const unsigned char lt_chars[256];

static inline int lt_char_is(char c, int what) {
    return lt_chars[(unsigned char)c] & what;
}
