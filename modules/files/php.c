// SPDX-License-Identifier: Apache-2.0
// PHP's own session handler "files" (FACTS section 3): sess_<id>, below one directory a character when save_path has a depth.
#include "modules/files/profile.h"

#include <ctype.h>

enum { ID_MAX = 256 };

static bool id_ok(struct lt_span id) {
    for (size_t i = 0; i < id.n; i++)
        if (!isalnum((unsigned char)id.p[i]) && id.p[i] != ',' && id.p[i] != '-')
            return false;
    return id.n > 0 && id.n <= ID_MAX;
}

static bool file(struct lt_span id, unsigned depth, char out[FILES_NAME_MAX]) {
    static const struct lt_span prefix = {"sess_", 5};
    if (!id_ok(id) || id.n < depth)
        return false;
    size_t n = 0;
    for (unsigned i = 0; i < depth; i++) {
        out[n++] = id.p[i];
        out[n++] = '/';
    }
    memcpy(out + n, prefix.p, prefix.n);
    memcpy(out + n + prefix.n, id.p, id.n);
    out[n + prefix.n + id.n] = '\0';
    return true;
}

const struct files_profile files_profile_php = {.name = "php", .cookie = "PHPSESSID", .file = file};
