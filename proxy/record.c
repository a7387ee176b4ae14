// SPDX-License-Identifier: Apache-2.0
#include "record.h"

#include "crypto/token.h"

#include <stdlib.h>

enum { VERSION = 1, TEXT_MAX = 65535, F_SECURE = 1, F_HTTP_ONLY = 2 };

// --- texts: one malloc each ---

static void drop_text(struct lt_span *s) {
    free((void *)s->p);
    *s = lt_span(NULL, 0);
}

// An empty text owns nothing. False: no memory.
static bool copy_text(struct lt_span *to, struct lt_span from) {
    *to = lt_span(NULL, 0);
    if (from.n == 0)
        return true;
    char *copy = malloc(from.n);
    if (!copy)
        return false;
    memcpy(copy, from.p, from.n);
    *to = lt_span(copy, from.n);
    return true;
}

static void drop_cookie(struct lt_record_cookie *c) {
    drop_text(&c->name);
    drop_text(&c->value);
    drop_text(&c->path);
    drop_text(&c->domain);
}

static bool copy_cookie(struct lt_record_cookie *to, const struct lt_record_cookie *from) {
    *to = *from;
    to->name = to->value = to->path = to->domain = lt_span(NULL, 0);
    if (copy_text(&to->name, from->name) && copy_text(&to->value, from->value) && copy_text(&to->path, from->path) &&
        copy_text(&to->domain, from->domain))
        return true;
    drop_cookie(to);
    return false;
}

static void drop_content(struct lt_record_content *c) {
    drop_text(&c->name);
    drop_text(&c->bytes);
}

static bool copy_content(struct lt_record_content *to, struct lt_span name, struct lt_span bytes) {
    to->bytes = lt_span(NULL, 0);
    if (copy_text(&to->name, name) && copy_text(&to->bytes, bytes))
        return true;
    drop_content(to);
    return false;
}

// --- the whole ---

// Room for one more cookie: most sessions have one.
static bool reserve_cookie(struct lt_record *r) {
    if (r->n_cookies < r->cookies_cap)
        return true;
    unsigned cap = r->cookies_cap ? r->cookies_cap * 2 : 1;
    struct lt_record_cookie *cookies = cap <= LT_RECORD_COOKIES ? realloc(r->cookies, cap * sizeof *cookies) : NULL;
    if (!cookies)
        return false;
    r->cookies = cookies;
    r->cookies_cap = cap;
    return true;
}

struct lt_record *lt_record_new(int64_t now) {
    struct lt_record *r = calloc(1, sizeof *r);
    if (r && lt_random(r->id, sizeof r->id)) {
        r->created = r->used = now;
        return r;
    }
    free(r);
    return NULL;
}

void lt_record_free(struct lt_record *r) {
    if (!r)
        return;
    for (unsigned i = 0; i < r->n_cookies; i++)
        drop_cookie(&r->cookies[i]);
    for (unsigned i = 0; i < r->n_contents; i++)
        drop_content(&r->contents[i]);
    free(r->cookies);
    free(r);
}

struct lt_record *lt_record_copy(const struct lt_record *r) {
    struct lt_record *copy = malloc(sizeof *copy);
    if (!copy)
        return NULL;
    *copy = *r;
    copy->cookies = NULL;
    copy->n_cookies = copy->cookies_cap = copy->n_contents = 0;
    for (unsigned i = 0; i < r->n_cookies; i++, copy->n_cookies++)
        if (!reserve_cookie(copy) || !copy_cookie(&copy->cookies[i], &r->cookies[i]))
            goto failed;
    for (unsigned i = 0; i < r->n_contents; i++, copy->n_contents++)
        if (!copy_content(&copy->contents[i], r->contents[i].name, r->contents[i].bytes))
            goto failed;
    return copy;
failed:
    lt_record_free(copy);
    return NULL;
}

// --- the stored form ---

// Big-endian, `n` bytes; false: there are not so many.
static bool take_number(struct lt_span *in, unsigned n, uint64_t *value) {
    if (in->n < n)
        return false;
    *value = 0;
    for (unsigned i = 0; i < n; i++)
        *value = *value << 8 | (unsigned char)in->p[i];
    *in = lt_span(in->p + n, in->n - n);
    return true;
}

static bool take_time(struct lt_span *in, int64_t *value) {
    uint64_t v;
    if (!take_number(in, 8, &v) || v > INT64_MAX)
        return false;
    *value = (int64_t)v;
    return true;
}

// A text behind its length of `width` bytes; still a slice of `in`.
static bool take_text(struct lt_span *in, unsigned width, struct lt_span *text) {
    uint64_t n;
    if (!take_number(in, width, &n) || n > in->n)
        return false;
    *text = lt_span(in->p, (size_t)n);
    *in = lt_span(in->p + n, in->n - (size_t)n);
    return true;
}

static bool take_cookie(struct lt_span *in, struct lt_record *r) {
    struct lt_record_cookie c = {0};
    uint64_t flags;
    if (!take_text(in, 2, &c.name) || !take_text(in, 2, &c.value) || !take_text(in, 2, &c.path) ||
        !take_text(in, 2, &c.domain) || !take_time(in, &c.expires) || !take_number(in, 1, &flags) || c.name.n == 0 ||
        flags & ~(uint64_t)(F_SECURE | F_HTTP_ONLY))
        return false;
    c.secure = flags & F_SECURE;
    c.http_only = flags & F_HTTP_ONLY;
    if (!reserve_cookie(r) || !copy_cookie(&r->cookies[r->n_cookies], &c))
        return false;
    r->n_cookies++;
    return true;
}

static bool take_content(struct lt_span *in, struct lt_record *r) {
    struct lt_span name, bytes;
    if (!take_text(in, 2, &name) || !take_text(in, 4, &bytes) || name.n == 0 ||
        !copy_content(&r->contents[r->n_contents], name, bytes))
        return false;
    r->n_contents++;
    return true;
}

static bool take_all(struct lt_span *in, struct lt_record *r) {
    uint64_t version, n;
    if (!take_number(in, 1, &version) || version != VERSION || in->n < LT_RECORD_ID)
        return false;
    memcpy(r->id, in->p, LT_RECORD_ID);
    *in = lt_span(in->p + LT_RECORD_ID, in->n - LT_RECORD_ID);
    if (!take_time(in, &r->created) || !take_time(in, &r->used) || !take_number(in, 8, &r->counter) ||
        !take_number(in, 2, &n) || n > LT_RECORD_COOKIES)
        return false;
    while (n--)
        if (!take_cookie(in, r))
            return false;
    if (!take_number(in, 2, &n) || n > LT_RECORD_CONTENTS)
        return false;
    while (n--)
        if (!take_content(in, r))
            return false;
    return in->n == 0;
}

struct lt_record *lt_record_decode(struct lt_span bytes) {
    struct lt_record *r = calloc(1, sizeof *r);
    if (r && take_all(&bytes, r))
        return r;
    lt_record_free(r);
    return NULL;
}

static bool put_number(struct lt_buf *out, unsigned n, uint64_t value) {
    char bytes[8];
    for (unsigned i = 0; i < n; i++)
        bytes[i] = (char)(value >> (8 * (n - 1 - i)));
    return lt_buf_append(out, lt_span(bytes, n));
}

static bool put_text(struct lt_buf *out, unsigned width, struct lt_span text) {
    return put_number(out, width, text.n) && lt_buf_append(out, text);
}

static bool put_cookie(struct lt_buf *out, const struct lt_record_cookie *c) {
    return put_text(out, 2, c->name) && put_text(out, 2, c->value) && put_text(out, 2, c->path) &&
           put_text(out, 2, c->domain) && put_number(out, 8, (uint64_t)c->expires) &&
           put_number(out, 1, (c->secure ? F_SECURE : 0u) | (c->http_only ? F_HTTP_ONLY : 0u));
}

bool lt_record_encode(const struct lt_record *r, struct lt_buf *out) {
    bool ok = put_number(out, 1, VERSION) && lt_buf_append(out, lt_span((const char *)r->id, LT_RECORD_ID)) &&
              put_number(out, 8, (uint64_t)r->created) && put_number(out, 8, (uint64_t)r->used) &&
              put_number(out, 8, r->counter) && put_number(out, 2, r->n_cookies);
    for (unsigned i = 0; ok && i < r->n_cookies; i++)
        ok = put_cookie(out, &r->cookies[i]);
    ok = ok && put_number(out, 2, r->n_contents);
    for (unsigned i = 0; ok && i < r->n_contents; i++)
        ok = put_text(out, 2, r->contents[i].name) && put_text(out, 4, r->contents[i].bytes);
    return ok;
}

// --- the jar ---

const struct lt_record_cookie *lt_record_cookie(const struct lt_record *r, struct lt_span name) {
    for (unsigned i = 0; i < r->n_cookies; i++)
        if (lt_span_eq(r->cookies[i].name, name))
            return &r->cookies[i];
    return NULL;
}

static bool same_place(const struct lt_record_cookie *a, const struct lt_record_cookie *b) {
    return lt_span_eq(a->name, b->name) && lt_span_eq(a->path, b->path) && lt_span_eq(a->domain, b->domain);
}

static bool same_cookie(const struct lt_record_cookie *a, const struct lt_record_cookie *b) {
    return same_place(a, b) && lt_span_eq(a->value, b->value) && a->expires == b->expires && a->secure == b->secure &&
           a->http_only == b->http_only;
}

bool lt_record_set_cookie(struct lt_record *r, const struct lt_record_cookie *c) {
    struct lt_record_cookie fresh;
    unsigned i = 0;
    while (i < r->n_cookies && !same_place(&r->cookies[i], c))
        i++;
    if (i < r->n_cookies && same_cookie(&r->cookies[i], c))
        return true;
    if (i == LT_RECORD_COOKIES || c->expires < 0 || c->name.n == 0 || c->name.n > TEXT_MAX || c->value.n > TEXT_MAX ||
        c->path.n > TEXT_MAX || c->domain.n > TEXT_MAX || (i == r->n_cookies && !reserve_cookie(r)) ||
        !copy_cookie(&fresh, c))
        return false;
    if (i < r->n_cookies)
        drop_cookie(&r->cookies[i]);
    else
        r->n_cookies++;
    r->cookies[i] = fresh;
    r->changed = true;
    return true;
}

static void remove_cookie(struct lt_record *r, unsigned i) {
    drop_cookie(&r->cookies[i]);
    memmove(&r->cookies[i], &r->cookies[i + 1], (--r->n_cookies - i) * sizeof *r->cookies);
    r->changed = true;
}

unsigned lt_record_drop_cookie(struct lt_record *r, struct lt_span name, struct lt_span path) {
    bool drop[LT_RECORD_COOKIES]; // decided before the first one is freed: `name` and `path` may be the record's own
    unsigned before = r->n_cookies;
    for (unsigned i = 0; i < before; i++)
        drop[i] = lt_span_eq(r->cookies[i].name, name) && (path.n == 0 || lt_span_eq(r->cookies[i].path, path));
    for (unsigned i = before; i > 0; i--)
        if (drop[i - 1])
            remove_cookie(r, i - 1);
    return before - r->n_cookies;
}

void lt_record_expire_cookies(struct lt_record *r, int64_t now) {
    for (unsigned i = r->n_cookies; i > 0; i--)
        if (r->cookies[i - 1].expires && r->cookies[i - 1].expires <= now)
            remove_cookie(r, i - 1);
}

// --- contents ---

const struct lt_record_content *lt_record_content(const struct lt_record *r, struct lt_span name) {
    for (unsigned i = 0; i < r->n_contents; i++)
        if (lt_span_eq(r->contents[i].name, name))
            return &r->contents[i];
    return NULL;
}

bool lt_record_set_content(struct lt_record *r, struct lt_span name, struct lt_span bytes) {
    struct lt_record_content fresh;
    unsigned i = 0;
    while (i < r->n_contents && !lt_span_eq(r->contents[i].name, name))
        i++;
    if (i < r->n_contents && lt_span_eq(r->contents[i].bytes, bytes))
        return true;
    if (i == LT_RECORD_CONTENTS || name.n == 0 || name.n > TEXT_MAX || bytes.n > UINT32_MAX ||
        !copy_content(&fresh, name, bytes))
        return false;
    if (i < r->n_contents)
        drop_content(&r->contents[i]);
    else
        r->n_contents++;
    r->contents[i] = fresh;
    r->changed = true;
    return true;
}

// `name` may be the one in the record.
void lt_record_drop_content(struct lt_record *r, struct lt_span name) {
    for (unsigned i = 0; i < r->n_contents; i++) {
        if (!lt_span_eq(r->contents[i].name, name))
            continue;
        drop_content(&r->contents[i]);
        memmove(&r->contents[i], &r->contents[i + 1], (--r->n_contents - i) * sizeof *r->contents);
        r->changed = true;
        return;
    }
}
