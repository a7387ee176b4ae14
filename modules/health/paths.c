// SPDX-License-Identifier: Apache-2.0
#include "modules/health/paths.h"

static enum health_probe by_name(struct lt_span name) {
    static const struct lt_span names[] = {
        [HEALTH_LIVEZ] = {"livez", 5}, [HEALTH_READYZ] = {"readyz", 6}, [HEALTH_STARTUPZ] = {"startupz", 8}};
    unsigned i = 0;
    while (i < HEALTH_NO_PROBE && !lt_span_eq(name, names[i]))
        i++;
    return (enum health_probe)i;
}

static struct lt_span last_segment(struct lt_span path) {
    size_t n = path.n;
    while (n && path.p[n - 1] != '/')
        n--;
    return lt_span(path.p + n, path.n - n);
}

enum health_probe health_entry(struct lt_span entry, struct lt_span *path) {
    size_t equals = lt_span_find(entry, '=');
    *path = lt_span(entry.p, equals);
    return by_name(equals < entry.n ? lt_span(entry.p + equals + 1, entry.n - equals - 1) : last_segment(*path));
}

enum health_probe health_probe_of(struct lt_span target, const struct lt_option_list *paths) {
    struct lt_span asked = lt_span(target.p, lt_span_find(target, '?')), path;
    if (!paths)
        return asked.n && asked.p[0] == '/' ? by_name(lt_span(asked.p + 1, asked.n - 1)) : HEALTH_NO_PROBE;
    for (unsigned i = 0; i < paths->n; i++) {
        enum health_probe probe = health_entry(paths->v[i], &path);
        if (lt_span_eq(path, asked))
            return probe;
    }
    return HEALTH_NO_PROBE;
}
