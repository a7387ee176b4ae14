// SPDX-License-Identifier: Apache-2.0
#include "modules/session/jar.h"

static bool is_ours(const struct lt_cookie *c, struct lt_span token_name, const struct lt_option_list *names) {
    return lt_span_eq(c->name, token_name) || cookie_kind(c->name, names) != COOKIE_OTHER;
}

// The field without our pieces: each kept piece with the separator that stood before it.
static bool strip_field(struct lt_header *f, struct lt_arena *arena, const struct lt_option_list *names,
                        struct lt_span token_name, struct lt_span *token) {
    struct lt_span rest = f->value;
    struct lt_cookie c;
    bool hit = false;
    while (!hit && lt_cookie_next(&rest, &c))
        hit = is_ours(&c, token_name, names);
    if (!hit)
        return true;
    char *out = lt_arena_alloc(arena, f->value.n + 1);
    size_t n = 0;
    if (!out)
        return false;
    const char *from = f->value.p; // where the separator of the next piece begins
    for (rest = f->value; lt_cookie_next(&rest, &c);) {
        const char *end = c.raw.p + c.raw.n;
        if (lt_span_eq(c.name, token_name)) {
            if (token->n == 0)
                *token = c.value;
        } else if (cookie_kind(c.name, names) == COOKIE_OTHER) {
            const char *begin = n == 0 ? c.raw.p : from;
            memcpy(out + n, begin, (size_t)(end - begin));
            n += (size_t)(end - begin);
        }
        from = end;
    }
    if (n == 0)
        f->dropped = true;
    else
        lt_header_set(f, lt_span(out, n));
    return true;
}

bool jar_strip_request(struct lt_h1_head *request, struct lt_arena *arena, const struct lt_option_list *names,
                       struct lt_span token_name, struct lt_span *token) {
    *token = lt_span(NULL, 0);
    for (struct lt_header *f = NULL; (f = lt_headers_next(&request->headers, LT_HDR_COOKIE, f));)
        if (!strip_field(f, arena, names, token_name, token))
            return false;
    return true;
}

bool jar_restore(struct lt_h1_head *request, struct lt_arena *arena, const struct lt_record *record) {
    struct lt_header *f = lt_headers_get(&request->headers, LT_HDR_COOKIE);
    struct lt_span all = f ? f->value : lt_span(NULL, 0);
    bool any = false;
    for (unsigned i = 0; i < record->n_cookies; i++) {
        const struct lt_record_cookie *c = &record->cookies[i];
        if (!lt_cookie_path_match(c->path, request->path))
            continue;
        all = lt_arena_printf(arena, "%.*s%s%.*s=%.*s", (int)all.n, all.n ? all.p : "", all.n ? "; " : "", (int)c->name.n,
                              c->name.p, (int)c->value.n, c->value.n ? c->value.p : "");
        if (!all.p)
            return false;
        any = true;
    }
    if (!any)
        return true;
    if (f)
        lt_header_set(f, all);
    return f || lt_headers_add(&request->headers, lt_hdr_name(LT_HDR_COOKIE), all);
}

bool jar_touched(const struct lt_h1_head *response, const struct lt_option_list *names) {
    struct lt_set_cookie c;
    for (struct lt_header *f = NULL; (f = lt_headers_next(&response->headers, LT_HDR_SET_COOKIE, f));)
        if (lt_set_cookie_parse(f->value, &c) && cookie_kind(c.name, names) != COOKIE_OTHER)
            return true;
    return false;
}

static void take_one(const struct lt_set_cookie *c, enum cookie_kind kind, struct lt_record *record, int64_t now,
                     struct jar_changes *changes) {
    if (lt_set_cookie_deletes(c, now)) {
        changes->deleted += lt_record_drop_cookie(record, c->name, c->path);
        return;
    }
    const struct lt_record_cookie *old = lt_record_cookie(record, c->name);
    if (kind == COOKIE_ID && old && !lt_span_eq(old->value, c->value))
        changes->moved = true;
    struct lt_record_cookie fresh = {
        .name = c->name,
        .value = c->value,
        .path = c->path,
        .domain = c->domain,
        .expires = c->has_max_age ? now + c->max_age * 1000 : c->has_expires ? c->expires : 0,
        .secure = c->secure,
        .http_only = c->http_only,
    };
    changes->set++;
    if (!lt_record_set_cookie(record, &fresh))
        changes->failed = true;
}

struct jar_changes jar_take_response(struct lt_h1_head *response, struct lt_record *record,
                                     const struct lt_option_list *names, int64_t now) {
    struct jar_changes changes = {0};
    struct lt_set_cookie c;
    for (struct lt_header *f = NULL; (f = lt_headers_next(&response->headers, LT_HDR_SET_COOKIE, f));) {
        enum cookie_kind kind = lt_set_cookie_parse(f->value, &c) ? cookie_kind(c.name, names) : COOKIE_OTHER;
        if (kind == COOKIE_OTHER)
            continue;
        take_one(&c, kind, record, now, &changes);
        f->dropped = true;
    }
    return changes;
}

// Where ";jsessionid=" begins and its value ends; false: it is not there.
static bool find_jsessionid(struct lt_span path, size_t *begin, size_t *end) {
    static const struct lt_span mark = {";jsessionid=", 12};
    size_t query = lt_span_find(path, '?');
    for (size_t i = 0; i + mark.n <= query; i++) {
        if (path.p[i] != ';' || !lt_span_eq_nocase(lt_span(path.p + i, mark.n), mark))
            continue;
        size_t j = i + mark.n;
        while (j < path.n && !strchr("/?;#", path.p[j]))
            j++;
        *begin = i;
        *end = j;
        return true;
    }
    return false;
}

static bool cut_jsessionid(struct lt_span *path, struct lt_arena *arena) {
    size_t begin, end;
    if (!find_jsessionid(*path, &begin, &end))
        return true;
    *path = lt_arena_printf(arena, "%.*s%.*s", (int)begin, path->p, (int)(path->n - end), path->p + end);
    return path->p != NULL;
}

bool jar_strip_path(struct lt_h1_head *request, struct lt_arena *arena) {
    return !memchr(request->path.p, ';', request->path.n) || cut_jsessionid(&request->path, arena);
}

bool jar_strip_location(struct lt_h1_head *response, struct lt_arena *arena) {
    struct lt_header *f = lt_headers_get(&response->headers, LT_HDR_LOCATION);
    if (!f || f->value.n == 0 || !memchr(f->value.p, ';', f->value.n))
        return true;
    struct lt_span value = f->value;
    if (!cut_jsessionid(&value, arena))
        return false;
    if (value.p != f->value.p)
        lt_header_set(f, value);
    return true;
}
