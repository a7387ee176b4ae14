// SPDX-License-Identifier: Apache-2.0
#include "modules/audit/allow.h"

#include <fnmatch.h>
#include <limits.h>
#include <stdio.h>

static bool is_pattern(const char *text) {
    return strpbrk(text, "*?[") != NULL;
}

static bool lies_in(const char *path, struct lt_span dir) {
    while (dir.n && dir.p[dir.n - 1] == '/')
        dir.n--;
    return strncmp(path, dir.p, dir.n) == 0 && (path[dir.n] == '/' || path[dir.n] == '\0');
}

static bool matches(struct lt_span entry, const char *path) {
    return is_pattern(entry.p) ? fnmatch(entry.p, path, 0) == 0 : lies_in(path, entry);
}

bool audit_allowed(const struct lt_option_list *allow, const char *path) {
    for (unsigned i = 0; i < allow->n; i++)
        if (matches(allow->v[i], path))
            return true;
    return false;
}

bool audit_allowed_below(const struct lt_option_list *allow, const char *dir) {
    char inside[PATH_MAX];
    snprintf(inside, sizeof inside, "%s/", dir);
    for (unsigned i = 0; i < allow->n; i++) {
        struct lt_span entry = allow->v[i];
        bool open = !is_pattern(entry.p) || entry.p[entry.n - 1] == '*'; // whatever follows is matched as well
        if (open && matches(entry, inside))
            return true;
    }
    return false;
}

const char *audit_check_allow(struct lt_span entry) {
    return entry.n && (entry.p[0] == '/' || entry.p[0] == '*')
               ? NULL
               : "write a directory (\"/var/cache/app\") or a pattern such as \"/var/log/*\" or \"*.log\"";
}
