// SPDX-License-Identifier: Apache-2.0
#include "modules/session/claims.h"

#include "crypto/token.h"

#include <jansson.h>
#include <stdlib.h>

void claims_id(const struct lt_record *r, char out[CLAIMS_ID_TEXT + 1]) {
    lt_base64url_encode(r->id, sizeof r->id, out);
}

// --- bytes as characters (ISO 8859-1) ---

static json_t *from_bytes(struct lt_span bytes) {
    char *text = malloc(2 * bytes.n + 1);
    size_t n = 0;
    for (size_t i = 0; text && i < bytes.n; i++) {
        unsigned char b = (unsigned char)bytes.p[i];
        if (b >= 0x80)
            text[n++] = (char)(0xc0 | b >> 6);
        text[n++] = (char)(b < 0x80 ? b : 0x80 | (b & 0x3f));
    }
    json_t *s = text ? json_stringn(text, n) : NULL;
    free(text);
    return s;
}

// Into `out`, which has room for all. False: no string, or a character that is no byte.
static bool to_bytes(const json_t *s, char *out, struct lt_span *bytes) {
    const unsigned char *text = (const unsigned char *)json_string_value(s);
    size_t n = json_string_length(s), m = 0;
    for (size_t i = 0; i < n; i++) { // it is valid UTF-8: jansson has seen to that
        if (text[i] >= 0xc4)
            return false;
        out[m++] = (char)(text[i] < 0x80 ? text[i] : (text[i] & 0x03) << 6 | (text[i + 1] & 0x3f));
        i += text[i] >= 0x80;
    }
    *bytes = lt_span(out, m);
    return text != NULL;
}

// --- printing ---

static bool put_text(json_t *to, const char *member, struct lt_span bytes) {
    return bytes.n == 0 || json_object_set_new(to, member, from_bytes(bytes)) == 0;
}

static json_t *cookie_object(const struct lt_record_cookie *c) {
    json_t *o = json_object();
    if (put_text(o, "name", c->name) && put_text(o, "value", c->value) && put_text(o, "path", c->path) &&
        put_text(o, "domain", c->domain) &&
        (!c->expires || json_object_set_new(o, "expires", json_integer(c->expires)) == 0) &&
        (!c->secure || json_object_set_new(o, "secure", json_true()) == 0) &&
        (!c->http_only || json_object_set_new(o, "http_only", json_true()) == 0))
        return o;
    json_decref(o);
    return NULL;
}

static json_t *jar_array(const struct lt_record *r) {
    json_t *jar = json_array();
    for (unsigned i = 0; i < r->n_cookies; i++) {
        if (json_array_append_new(jar, cookie_object(&r->cookies[i])) == 0)
            continue;
        json_decref(jar);
        return NULL;
    }
    return jar;
}

static int64_t end_of(const struct lt_record *r, const struct client_limits *limits) {
    int64_t idle = r->used + limits->idle_ttl, absolute = r->created + limits->absolute_ttl;
    return idle < absolute ? idle : absolute;
}

char *claims_print(const struct lt_record *r, const struct claims_rules *rules, const struct client_limits *limits) {
    char id[CLAIMS_ID_TEXT + 1];
    claims_id(r, id);
    json_int_t issued = r->used / 1000, end = (end_of(r, limits) + 999) / 1000;
    json_t *own = json_pack("{s:I, s:I, s:I, s:o}", "created", (json_int_t)r->created, "used", (json_int_t)r->used,
                            "counter", (json_int_t)r->counter, "jar", jar_array(r));
    json_t *claims =
        json_pack("{s:o, s:o, s:s, s:I, s:I, s:I, s:o}", "iss", from_bytes(rules->issuer), "aud",
                  from_bytes(rules->audience), "jti", id, "iat", issued, "nbf", issued, "exp", end, "lethe", own);
    char *text = claims ? json_dumps(claims, JSON_COMPACT) : NULL;
    json_decref(claims);
    return text;
}

// --- reading ---

static bool says(const json_t *claims, const char *name, struct lt_span expected) {
    const json_t *s = json_object_get(claims, name);
    char *room = json_is_string(s) ? malloc(json_string_length(s) + 1) : NULL;
    struct lt_span is;
    bool same = room && to_bytes(s, room, &is) && lt_span_eq(is, expected);
    free(room);
    return same;
}

// A number of seconds or milliseconds that no sum below overflows. False: none.
static bool number(const json_t *claims, const char *name, int64_t *out) {
    const json_t *i = json_object_get(claims, name);
    *out = json_is_integer(i) ? json_integer_value(i) : -1;
    return *out >= 0 && *out < INT64_C(1) << 50;
}

static bool times_hold(const json_t *claims, const struct claims_rules *rules, int64_t now) {
    int64_t iat, nbf, exp;
    if (!number(claims, "iat", &iat) || !number(claims, "nbf", &nbf) || !number(claims, "exp", &exp))
        return false;
    int64_t latest = now + rules->leeway;
    return iat * 1000 <= latest && nbf * 1000 <= latest && now <= exp * 1000;
}

// An absent member is empty.
static bool member(const json_t *o, const char *name, char **at, struct lt_span *bytes) {
    const json_t *s = json_object_get(o, name);
    *bytes = lt_span(NULL, 0);
    if (!s)
        return true;
    bool ok = to_bytes(s, *at, bytes);
    *at += bytes->n;
    return ok;
}

static bool is_flag(const json_t *o, const char *name) {
    return !json_object_get(o, name) || json_is_boolean(json_object_get(o, name));
}

// `room` holds the texts of the cookie, and is as long as the whole claims.
static bool read_cookie(const json_t *o, struct lt_record *r, char *room) {
    struct lt_record_cookie c = {.secure = json_is_true(json_object_get(o, "secure")),
                                 .http_only = json_is_true(json_object_get(o, "http_only"))};
    return json_is_object(o) && is_flag(o, "secure") && is_flag(o, "http_only") && member(o, "name", &room, &c.name) &&
           member(o, "value", &room, &c.value) && member(o, "path", &room, &c.path) &&
           member(o, "domain", &room, &c.domain) &&
           (!json_object_get(o, "expires") || number(o, "expires", &c.expires)) && c.name.n &&
           lt_record_set_cookie(r, &c);
}

static bool read_own(const json_t *own, struct lt_record *r, size_t size) {
    const json_t *jar = json_object_get(own, "jar");
    int64_t counter;
    if (!number(own, "created", &r->created) || !number(own, "used", &r->used) || !number(own, "counter", &counter) ||
        !json_is_array(jar))
        return false;
    r->counter = (uint64_t)counter;
    char *room = malloc(size + 1);
    bool ok = room != NULL;
    for (size_t i = 0; ok && i < json_array_size(jar); i++)
        ok = read_cookie(json_array_get(jar, i), r, room);
    free(room);
    return ok;
}

static bool read_id(const json_t *claims, struct lt_record *r) {
    const char *id = json_string_value(json_object_get(claims, "jti"));
    size_t n;
    return id && lt_base64url_decode(lt_span_cstr(id), r->id, sizeof r->id, &n) && n == sizeof r->id;
}

struct lt_record *claims_read(struct lt_span text, const struct claims_rules *rules, const struct client_limits *limits) {
    json_t *claims = json_loadb(text.p, text.n, JSON_REJECT_DUPLICATES, NULL);
    struct lt_record *r = json_is_object(claims) ? lt_record_new(limits->now) : NULL;
    bool ok = r && says(claims, "iss", rules->issuer) && says(claims, "aud", rules->audience) &&
              times_hold(claims, rules, limits->now) && read_id(claims, r) &&
              read_own(json_object_get(claims, "lethe"), r, text.n) && !client_is_over(r, limits);
    json_decref(claims);
    if (ok) {
        r->changed = false;
        return r;
    }
    lt_record_free(r);
    return NULL;
}
