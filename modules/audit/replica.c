// SPDX-License-Identifier: Apache-2.0
#include "modules/audit/replica.h"

#include "modules/audit/conf.h"

#include <ctype.h>

enum { NAME_MAX_LENGTH = 16, ID_MIN = 16 };

static struct replica_name behind(struct lt_span value, char separator) {
    size_t at = value.p ? lt_span_find(value, separator) : 0;
    if (at == 0 || at + 1 >= value.n)
        return (struct replica_name){0};
    return (struct replica_name){separator, lt_span(value.p + at + 1, value.n - at - 1)};
}

static bool is_plain(struct lt_span s) {
    for (size_t i = 0; i < s.n; i++)
        if (!isalnum((unsigned char)s.p[i]))
            return false;
    return s.n > 0;
}

// "node1", "app-03": letters, then digits. A signature of that form would be shorter than any in use.
static bool looks_like_name(struct lt_span s) {
    size_t letters = 0, digits = 0;
    while (letters < s.n && (isalpha((unsigned char)s.p[letters]) || (letters && strchr("-_", s.p[letters]))))
        letters++;
    while (letters + digits < s.n && isdigit((unsigned char)s.p[letters + digits]))
        digits++;
    return letters && digits && letters + digits == s.n && s.n <= NAME_MAX_LENGTH;
}

struct replica_name replica_name_of(struct lt_span cookie, struct lt_span value, const struct lt_option_list *routes) {
    static const char separators[] = ".!:";
    if (value.n >= 2 && value.p[0] == '"' && value.p[value.n - 1] == '"')
        value = lt_span(value.p + 1, value.n - 2);
    if (!audit_names(routes, cookie, true)) {
        struct replica_name name = behind(value, '.');
        size_t id = value.n - name.route.n - 1;
        bool named = name.route.n && id >= ID_MIN && is_plain(lt_span(value.p, id)) && looks_like_name(name.route);
        return named ? name : (struct replica_name){0};
    }
    for (const char *s = separators; *s; s++) {
        struct replica_name name = behind(value, *s);
        if (name.route.n)
            return name;
    }
    return (struct replica_name){0};
}

struct lt_span replica_id_in_url(struct lt_span url) {
    static const char key[] = ";jsessionid=";
    const char *at = url.n ? memmem(url.p, url.n, key, sizeof key - 1) : NULL;
    if (!at)
        return lt_span(NULL, 0);
    const char *from = at + sizeof key - 1;
    size_t n = 0, left = (size_t)(url.p + url.n - from);
    while (n < left && !strchr("?#;&/", from[n]))
        n++;
    return lt_span(from, n);
}
