// SPDX-License-Identifier: Apache-2.0
// A Cookie or Set-Cookie value from a peer.
//   pieces lie within the input, in order, and are read again the same when they are put together;
//   taking cookies out leaves exactly the others; a date is read again from how it is written.
#include "http/cookie_edit.h"
#include "tests/fuzz/check.h"

#include "base/buf.h"

#include <time.h>

static void check_piece(const struct lt_cookie *c, struct lt_span in, const char *last) {
    CHECK(c->raw.n > 0 && is_inside(c->raw, in) && c->raw.p >= last);
    CHECK(lt_span_find(c->raw, ';') == c->raw.n);
    CHECK(lt_span_eq(lt_span_trim(c->raw), c->raw));
    CHECK(is_inside(c->name, c->raw) && is_inside(c->value, c->raw));
    CHECK(lt_span_find(c->name, '=') == c->name.n);
    CHECK(c->name.n || lt_span_find(c->raw, '=') == 0 || lt_span_find(c->raw, '=') == c->raw.n);
}

static void check_pieces(struct lt_span in) {
    struct lt_span rest = in;
    struct lt_cookie c, again;
    struct lt_buf joined;
    const char *last = in.p;
    lt_buf_init(&joined, 3 * in.n + 16);
    while (lt_cookie_next(&rest, &c)) {
        CHECK(is_inside(rest, in));
        check_piece(&c, in, last);
        last = c.raw.p + c.raw.n;
        CHECK(lt_buf_append(&joined, c.raw) && lt_buf_append(&joined, LT_S("; ")));
    }
    CHECK(rest.n == 0);
    struct lt_span other = lt_buf_span(&joined);
    for (rest = in; lt_cookie_next(&rest, &c);)
        CHECK(lt_cookie_next(&other, &again) && lt_span_eq(c.raw, again.raw) && lt_span_eq(c.name, again.name) &&
              lt_span_eq(c.value, again.value));
    CHECK(!lt_cookie_next(&other, &again));
    lt_buf_fini(&joined);
}

static bool is_kept(const struct lt_cookie *c, void *user) {
    (void)user;
    return (c->raw.p[0] ^ c->raw.n) & 1;
}

static void check_filter(struct lt_span in) {
    struct lt_arena arena;
    struct lt_headers h;
    struct lt_cookie c, again;
    lt_arena_init(&arena, 1 << 20);
    CHECK(lt_headers_init(&h, &arena) && lt_headers_add(&h, LT_S("Cookie"), in));
    CHECK(lt_cookies_filter(&h, &arena, is_kept, NULL));
    struct lt_span rest = in, left = h.v[0].dropped ? lt_span(NULL, 0) : h.v[0].value;
    while (lt_cookie_next(&rest, &c))
        CHECK(!is_kept(&c, NULL) || (lt_cookie_next(&left, &again) && lt_span_eq(c.raw, again.raw)));
    CHECK(!lt_cookie_next(&left, &again));
    lt_arena_fini(&arena);
}

static void check_date(struct lt_span in) {
    int64_t ms, again;
    if (!lt_cookie_date(in, &ms))
        return;
    char text[64];
    struct tm t;
    time_t seconds = (time_t)(ms / 1000);
    CHECK(ms % 1000 == 0 && gmtime_r(&seconds, &t));
    size_t n = strftime(text, sizeof text, "%a, %d %b %Y %H:%M:%S GMT", &t);
    CHECK(lt_cookie_date(lt_span(text, n), &again) && again == ms);
}

static void check_set_cookie(struct lt_span in) {
    struct lt_set_cookie c;
    if (!lt_set_cookie_parse(in, &c))
        return;
    CHECK(c.name.n > 0 && is_inside(c.name, in) && is_inside(c.value, in));
    CHECK(is_inside(c.path, in) && is_inside(c.domain, in));
    CHECK(lt_span_find(c.name, ';') == c.name.n && lt_span_find(c.value, ';') == c.value.n);
    CHECK(c.path.n == 0 || c.path.p[0] == '/');
    CHECK(c.max_age >= INT64_MIN / 1000 && c.max_age <= INT64_MAX / 1000);
    CHECK(!lt_set_cookie_deletes(&c, INT64_MIN) || c.has_max_age);
    CHECK(lt_span_find(c.path, '?') < c.path.n ||
          lt_cookie_path_match(c.path, c.path)); // a request's path ends at its query
    lt_cookie_path_match(c.path, in);
    lt_cookie_path_match(in, c.path);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct lt_span in = lt_span((const char *)data, size);
    check_pieces(in);
    if (size < 1 << 16)
        check_filter(in);
    check_set_cookie(in);
    check_date(in);
    CHECK(!lt_cookie_name_ok(in) || lt_token_ok(in));
    CHECK(!lt_cookie_value_ok(in) || lt_field_value_ok(in));
    return 0;
}
