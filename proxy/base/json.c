// SPDX-License-Identifier: Apache-2.0
#include "base/json.h"

enum { ESCAPED = 6 };

bool lt_json_text(struct lt_buf *out, struct lt_span s) {
    static const char hex[] = "0123456789abcdef";
    char *start = lt_buf_reserve(out, s.n * ESCAPED + 2), *to = start;
    if (!start)
        return false;
    *to++ = '"';
    for (size_t i = 0; i < s.n; i++) {
        unsigned char c = (unsigned char)s.p[i];
        if (c == '"' || c == '\\') {
            *to++ = '\\';
            *to++ = (char)c;
        } else if (c < ' ' || c > '~' || c == '<') {
            const char escaped[ESCAPED] = {'\\', 'u', '0', '0', hex[c >> 4], hex[c & 15]};
            memcpy(to, escaped, ESCAPED);
            to += ESCAPED;
        } else {
            *to++ = (char)c;
        }
    }
    *to++ = '"';
    lt_buf_grew(out, (size_t)(to - start));
    return true;
}
