// SPDX-License-Identifier: Apache-2.0
#include "http/cookie_edit.h"

static bool filter_field(struct lt_header *f, struct lt_arena *arena, lt_cookie_keep_fn *keep, void *user) {
    struct lt_span rest = f->value;
    struct lt_cookie c;
    char *out = NULL; // from the first cookie on that is taken out
    size_t n = 0;
    const char *from = f->value.p; // where the separator of the next cookie begins
    while (lt_cookie_next(&rest, &c)) {
        const char *end = c.raw.p + c.raw.n;
        bool kept = keep(&c, user);
        if (!kept && !out) {
            n = (size_t)(from - f->value.p);
            out = lt_arena_alloc(arena, f->value.n + 1);
            if (!out)
                return false;
            memcpy(out, f->value.p, n);
        } else if (kept && out) {
            const char *begin = n == 0 ? c.raw.p : from;
            memcpy(out + n, begin, (size_t)(end - begin));
            n += (size_t)(end - begin);
        }
        from = end;
    }
    if (out && n == 0)
        f->dropped = true;
    else if (out)
        lt_header_set(f, lt_span(out, n));
    return true;
}

bool lt_cookies_filter(struct lt_headers *h, struct lt_arena *arena, lt_cookie_keep_fn *keep, void *user) {
    for (struct lt_header *f = NULL; (f = lt_headers_next(h, LT_HDR_COOKIE, f));)
        if (!filter_field(f, arena, keep, user))
            return false;
    return true;
}
