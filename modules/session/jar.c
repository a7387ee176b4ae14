// SPDX-License-Identifier: Apache-2.0
#include "modules/session/jar.h"

#include "http/cookie_edit.h"

enum { MAX_AGE_S = 400 * 24 * 3600 }; // browsers cut longer ones to this (RFC 6265bis section 5.5)

struct strip {
    const struct lt_option_list *names;
    struct lt_span cookie_name;
    struct client_cookie *cookie;
    bool secure;
};

static bool keep(const struct lt_cookie *c, void *user) {
    static const struct lt_span prefix = {"__Host-", 7};
    const struct strip *s = user;
    bool prefixed = lt_span_starts(c->name, prefix);
    size_t skip = prefixed ? prefix.n : 0;
    int part = client_part_of(lt_span(c->name.p + skip, c->name.n - skip), s->cookie_name);
    if (part < 0)
        return cookie_kind(c->name, s->names) == COOKIE_OTHER;
    if (prefixed == s->secure && s->cookie->part[part].n == 0)
        s->cookie->part[part] = c->value;
    return false;
}

bool jar_strip_request(struct lt_h1_head *request, struct lt_arena *arena, const struct lt_option_list *names,
                       struct lt_span cookie_name, bool secure, struct client_cookie *cookie) {
    struct strip s = {names, cookie_name, cookie, secure};
    *cookie = (struct client_cookie){.part = {{NULL, 0}}};
    return lt_cookies_filter(&request->headers, arena, keep, &s);
}

bool jar_restore(struct lt_h1_head *request, struct lt_arena *arena, const struct lt_record *record) {
    struct lt_header *f = lt_headers_get(&request->headers, LT_HDR_COOKIE);
    struct lt_span all = f ? f->value : lt_span(NULL, 0);
    bool any = false;
    for (unsigned i = 0; i < record->n_cookies; i++) {
        const struct lt_record_cookie *c = &record->cookies[i];
        if (!lt_cookie_path_match(c->path, request->path))
            continue;
        all = LT_JOIN(arena, all, all.n ? LT_S("; ") : LT_S(""), c->name, LT_S("="), c->value);
        if (!all.p)
            return false;
        any = true;
    }
    if (!any)
        return true;
    if (f)
        lt_header_set(f, all);
    return f || lt_headers_add_id(&request->headers, LT_HDR_COOKIE, all);
}

void jar_take_response(struct lt_h1_head *response, const struct lt_option_list *names, struct jar_changes *changes) {
    changes->n = 0;
    changes->overflow = false;
    for (struct lt_header *f = NULL; (f = lt_headers_next(&response->headers, LT_HDR_SET_COOKIE, f));) {
        struct lt_set_cookie c;
        if (!lt_set_cookie_parse(f->value, &c) || cookie_kind(c.name, names) == COOKIE_OTHER)
            continue;
        f->dropped = true;
        if (changes->n < JAR_CHANGES)
            changes->v[changes->n++] = c;
        else
            changes->overflow = true;
    }
}

// Does it set an id where the jar has another one, or a first one beside what the jar has? Both may be a login: whoever knew the
// token before must not be in it.
static bool is_new_id(const struct lt_set_cookie *c, const struct lt_record *record, const struct lt_option_list *names,
                      bool carried, int64_t now) {
    const struct lt_record_cookie *old = lt_record_cookie(record, c->name);
    enum cookie_kind kind = cookie_kind(c->name, names);
    bool is_id = kind == COOKIE_ID || (kind == COOKIE_CARRIED && carried);
    if (!is_id || lt_set_cookie_deletes(c, now))
        return false;
    return old ? !lt_span_eq(old->value, c->value) : record->n_cookies > 0;
}

static void apply_one(const struct lt_set_cookie *c, struct lt_record *record, int64_t now, struct jar_result *result) {
    if (lt_set_cookie_deletes(c, now)) {
        result->deleted += lt_record_drop_cookie(record, c->name, c->path);
        return;
    }
    int64_t age = c->max_age < MAX_AGE_S ? c->max_age : MAX_AGE_S;
    struct lt_record_cookie fresh = {
        .name = c->name,
        .value = c->value,
        .path = c->path,
        .domain = c->domain,
        .expires = c->has_max_age   ? now + age * 1000
                   : c->has_expires ? c->expires
                                    : 0,
        .secure = c->secure,
        .http_only = c->http_only,
    };
    result->set++;
    if (!lt_record_set_cookie(record, &fresh))
        result->failed = true;
}

struct jar_result jar_apply(const struct jar_changes *changes, struct lt_record *record,
                            const struct lt_option_list *names, bool carried, int64_t now) {
    struct jar_result result = {.failed = changes->overflow};
    for (unsigned i = 0; i < changes->n; i++) // before any of them is applied: an answer may delete the old id first
        result.moved = result.moved || is_new_id(&changes->v[i], record, names, carried, now);
    for (unsigned i = 0; i < changes->n; i++)
        apply_one(&changes->v[i], record, now, &result);
    return result;
}

int64_t jar_persists_until(const struct lt_record *record) {
    int64_t until = 0;
    for (unsigned i = 0; i < record->n_cookies; i++)
        if (record->cookies[i].expires > until)
            until = record->cookies[i].expires;
    return until;
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
    *path = LT_JOIN(arena, lt_span(path->p, begin), lt_span(path->p + end, path->n - end));
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
