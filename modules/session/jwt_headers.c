// SPDX-License-Identifier: Apache-2.0
// Claims of a verified token as request headers: "jti=X-Session-Id", "cookie.PHPSESSID=X-App-Session".
#include "modules/session/jwt.h"

static const struct lt_span cookie_mark = {"cookie.", 7};

static void split(struct lt_span entry, struct lt_span *claim, struct lt_span *name) {
    size_t equals = lt_span_find(entry, '=');
    *claim = lt_span(entry.p, equals);
    *name = equals < entry.n ? lt_span(entry.p + equals + 1, entry.n - equals - 1) : lt_span(NULL, 0);
}

static bool is_claim(struct lt_span claim) {
    bool cookie =
        lt_span_starts(claim, cookie_mark) && lt_token_ok(lt_span(claim.p + cookie_mark.n, claim.n - cookie_mark.n));
    return cookie || lt_span_eq(claim, LT_S("jti")) || lt_span_eq(claim, LT_S("iat"));
}

const char *jwt_check_header(struct lt_span entry) {
    struct lt_span claim, name;
    split(entry, &claim, &name);
    return is_claim(claim) && lt_token_ok(name) && lt_hdr_id(name) == LT_HDR_OTHER
               ? NULL
               : "write \"claim=Header-Name\" with the claim \"jti\", \"iat\" or \"cookie.NAME\" and a header of your "
                 "own";
}

static char one_of_both(char c) {
    return lt_ascii_lower((char)(c == '_' ? '-' : c));
}

// Servers that hand headers on as variables (CGI, WSGI, PHP) make "X-User" and "X_User" the same.
static bool is_same_name(struct lt_span a, struct lt_span b) {
    for (size_t i = 0; i < a.n && a.n == b.n; i++) {
        if (one_of_both(a.p[i]) != one_of_both(b.p[i]))
            return false;
    }
    return a.n == b.n;
}

void jwt_strip_headers(const struct jwt_conf *conf, struct lt_h1_head *request) {
    struct lt_headers *h = &request->headers;
    for (unsigned i = 0; i < h->n; i++)
        for (unsigned k = 0; k < conf->claims_headers.n; k++) {
            struct lt_span claim, name;
            split(conf->claims_headers.v[k], &claim, &name);
            h->v[i].dropped = h->v[i].dropped || is_same_name(h->v[i].name, name);
        }
}

// Empty: the record has no such thing. `.p` NULL: no memory.
static struct lt_span value_of(struct lt_span claim, const struct lt_record *r, struct lt_arena *arena) {
    char id[CLAIMS_ID_TEXT + 1];
    if (lt_span_starts(claim, cookie_mark)) {
        const struct lt_record_cookie *c = lt_record_cookie(r, lt_span(claim.p + cookie_mark.n, claim.n - cookie_mark.n));
        return lt_arena_dup(arena, c && lt_field_value_ok(c->value) ? c->value : LT_S(""));
    }
    if (lt_span_eq(claim, LT_S("iat")))
        return lt_arena_printf(arena, "%lld", (long long)(r->used / 1000));
    claims_id(r, id);
    return lt_arena_dup(arena, lt_span_cstr(id));
}

bool jwt_add_headers(const struct jwt_conf *conf, struct lt_h1_head *request, const struct lt_record *record,
                     struct lt_arena *arena) {
    for (unsigned k = 0; k < conf->claims_headers.n; k++) {
        struct lt_span claim, name;
        split(conf->claims_headers.v[k], &claim, &name);
        struct lt_span value = value_of(claim, record, arena);
        if (!value.p || (value.n && !lt_headers_add(&request->headers, name, value)))
            return false;
    }
    return true;
}
