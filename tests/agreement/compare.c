// SPDX-License-Identifier: Apache-2.0
#include "tests/agreement/compare.h"

static bool accepts(const struct reading *r) {
    return r->verdict == WITHIN_BODY || r->verdict == WITHIN_TRAILER || r->verdict == WHOLE;
}

static bool same_field(const struct field *a, const struct field *b) {
    return lt_span_eq(a->name, b->name) && lt_span_eq(a->value, b->value);
}

static bool same_fields(const struct fields *a, const struct fields *b) {
    for (unsigned i = 0; i < a->n && i < b->n; i++)
        if (!same_field(&a->v[i], &b->v[i]))
            return false;
    return a->n == b->n;
}

// lethe drops what may not trail (RFC 9110 section 6.5.1), and invents nothing.
static bool is_part(const struct fields *part, const struct fields *of) {
    unsigned i = 0;
    for (unsigned j = 0; i < part->n && j < of->n; j++)
        i += same_field(&part->v[i], &of->v[j]);
    return i == part->n;
}

static const char *differing(const struct reading *a, const struct reading *b) {
    if (!lt_span_eq(a->method, b->method))
        return "method";
    if (!lt_span_eq(a->target, b->target))
        return "target";
    if (a->major != b->major || a->minor != b->minor)
        return "version";
    if (a->status != b->status)
        return "status";
    if (!same_fields(&a->fields, &b->fields))
        return "fields";
    if (a->upgrade && !b->upgrade) // the other way round lethe forwards no Upgrade
        return "upgrade";
    if (!lt_span_eq(a->body, b->body))
        return "body";
    if ((a->verdict == WHOLE) != (b->verdict == WHOLE) || (a->verdict == WHOLE && a->end != b->end))
        return "end";
    return a->verdict == WITHIN_TRAILER || is_part(&a->trailers, &b->trailers) ? NULL : "trailers";
}

enum outcome compare(const struct reading *lethe, const struct reading *llhttp, const char **what) {
    *what = NULL;
    if (lethe->verdict == REFUSED)
        return accepts(llhttp) ? STRICTER : SAME;
    if (llhttp->verdict == REFUSED)
        return lethe->verdict == WHOLE || lethe->verdict == WITHIN_BODY ? LOOSER : SAME;
    if (lethe->verdict == WITHIN_HEAD && llhttp->verdict == WITHIN_HEAD)
        return SAME;
    *what = accepts(lethe) == accepts(llhttp) ? differing(lethe, llhttp) : "end of the head";
    return *what ? DIFFERENT : SAME;
}
