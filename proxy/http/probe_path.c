// SPDX-License-Identifier: Apache-2.0
#include "http/probe_path.h"

static enum lt_probe named(struct lt_span name) {
    static const struct lt_span names[] = {
        [LT_PROBE_LIVEZ] = {"livez", 5}, [LT_PROBE_READYZ] = {"readyz", 6}, [LT_PROBE_STARTUPZ] = {"startupz", 8}};
    unsigned i = 0;
    while (i < LT_PROBE_NONE && !lt_span_eq(name, names[i]))
        i++;
    return (enum lt_probe)i;
}

static struct lt_span last_segment(struct lt_span path) {
    size_t n = path.n;
    while (n && path.p[n - 1] != '/')
        n--;
    return lt_span(path.p + n, path.n - n);
}

static struct lt_span without_query(struct lt_span target) {
    return lt_span(target.p, lt_span_find(target, '?'));
}

enum lt_probe lt_probe_entry(struct lt_span entry, struct lt_span *path) {
    size_t equals = lt_span_find(entry, '=');
    *path = lt_span(entry.p, equals);
    return named(equals < entry.n ? lt_span(entry.p + equals + 1, entry.n - equals - 1) : last_segment(*path));
}

enum lt_probe lt_probe_by_entries(struct lt_span target, const struct lt_span *entries, unsigned n) {
    struct lt_span asked = without_query(target), path;
    for (unsigned i = 0; i < n; i++) {
        enum lt_probe probe = lt_probe_entry(entries[i], &path);
        if (lt_span_eq(path, asked))
            return probe;
    }
    return LT_PROBE_NONE;
}

enum lt_probe lt_probe_by_name(struct lt_span target) {
    struct lt_span asked = without_query(target);
    return asked.n && asked.p[0] == '/' ? named(lt_span(asked.p + 1, asked.n - 1)) : LT_PROBE_NONE;
}
