// SPDX-License-Identifier: Apache-2.0
// PHP's own session handler "files" (FACTS section 3): sess_<id>, below one directory a character when save_path has a depth.
#include "modules/files/profile.h"

#include <ctype.h>

enum { ID_MAX = 256 };

static int hex(char c) {
    return c >= '0' && c <= '9'   ? c - '0'
           : c >= 'A' && c <= 'F' ? c - 'A' + 10
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
                                  : -1;
}

// PHP escapes its cookies' values ("," is %2C) and reads them so. False: not an id that PHP would take.
static bool read_id(struct lt_span value, char id[ID_MAX], size_t *n) {
    *n = 0;
    for (size_t i = 0; i < value.n; i++) {
        char c = value.p[i];
        if (c == '%' && i + 2 < value.n && hex(value.p[i + 1]) >= 0 && hex(value.p[i + 2]) >= 0) {
            c = (char)(hex(value.p[i + 1]) << 4 | hex(value.p[i + 2]));
            i += 2;
        }
        if (*n == ID_MAX || (!isalnum((unsigned char)c) && c != ',' && c != '-'))
            return false;
        id[(*n)++] = c;
    }
    return *n > 0;
}

static bool file(struct lt_span value, unsigned depth, char out[FILES_NAME_MAX]) {
    static const struct lt_span prefix = {"sess_", 5};
    char id[ID_MAX];
    size_t length, n = 0;
    if (!read_id(value, id, &length) || length < depth)
        return false;
    for (unsigned i = 0; i < depth; i++) {
        out[n++] = id[i];
        out[n++] = '/';
    }
    memcpy(out + n, prefix.p, prefix.n);
    memcpy(out + n + prefix.n, id, length);
    out[n + prefix.n + length] = '\0';
    return true;
}

const struct files_profile files_profile_php = {.name = "php", .cookie = "PHPSESSID", .file = file};
