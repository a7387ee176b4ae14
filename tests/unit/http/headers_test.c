// SPDX-License-Identifier: Apache-2.0
#include "http/headers.h"

#include "http/chars.h"
#include "tests/rig/leaks.h"
#include "tests/unit/http/split.h"

#include <ctype.h>

TestSuite(headers, .fini = lt_rig_leaks);

// --- the table of bytes, against the words of the RFCs ---

static bool is_one_of(int c, const char *set) {
    return c != 0 && strchr(set, c) != NULL;
}

static bool is_alnum(int c) {
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static int rules(int c) {
    int what = 0;
    what |= is_alnum(c) || is_one_of(c, "!#$%&'*+-.^_`|~") ? LT_CHAR_TOKEN : 0;
    what |= c == '\t' || c == ' ' || (c > ' ' && c < 0x7f) || c >= 0x80 ? LT_CHAR_VALUE : 0;
    what |= c > ' ' && c < 0x7f && c != '#' ? LT_CHAR_TARGET : 0;
    what |= is_alnum(c) || is_one_of(c, "-._~"
                                        "!$&'()*+,;=")
                ? LT_CHAR_HOST
                : 0;
    what |= c >= '0' && c <= '9' ? LT_CHAR_DIGIT : 0;
    what |= (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F') ? LT_CHAR_HEX : 0;
    what |= c > ' ' && c < 0x7f && !is_one_of(c, "\",;\\") ? LT_CHAR_COOKIE : 0;
    return what;
}

Test(headers, each_byte_is_what_the_rfcs_say) {
    for (int c = 0; c < 256; c++)
        cr_assert_eq(lt_chars[c], rules(c), "byte 0x%02x", (unsigned)c);
}

Test(headers, values_and_tokens) {
    for (int c = 0; c < 256; c++) {
        char text[] = {'a', (char)c, 'b'};
        cr_assert_eq(lt_field_value_ok(lt_span(text, 3)), (rules(c) & LT_CHAR_VALUE) != 0, "byte 0x%02x", (unsigned)c);
        cr_assert_eq(lt_token_ok(lt_span(text, 3)), (rules(c) & LT_CHAR_TOKEN) != 0, "byte 0x%02x", (unsigned)c);
    }
    cr_assert(lt_field_value_ok(lt_span(NULL, 0)));
    cr_assert_not(lt_token_ok(lt_span(NULL, 0)));
}

// --- names ---

// It looks at eight bytes at once: every byte at every place, with every kind of neighbour and of rest.
Test(headers, value_words) {
    static const char fill[] = {' ', '~', '\t', '\x80', '\xff'};
    char text[27];
    for (unsigned f = 0; f < sizeof fill; f++)
        for (size_t n = 1; n <= sizeof text; n++)
            for (size_t at = 0; at < n; at++)
                for (unsigned c = 0; c < 256; c++) {
                    memset(text, fill[f], n);
                    text[at] = (char)c;
                    cr_assert_eq(lt_field_value_ok(lt_span(text, n)), c == '\t' || (c >= 0x20 && c != 0x7f),
                                 "byte 0x%02x at %zu of %zu", c, at, n);
                }
}

Test(headers, every_id_has_its_name_in_any_case) {
    for (int id = LT_HDR_OTHER + 1; id < LT_HDR_COUNT; id++) {
        struct lt_span name = lt_hdr_name((enum lt_hdr)id);
        char text[32];
        cr_assert(name.n > 0 && name.n < sizeof text, "id %d has no name", id);
        cr_assert_eq((int)lt_hdr_id(name), id, "%s", name.p);
        for (size_t i = 0; i < name.n; i++)
            text[i] = (char)toupper(name.p[i]);
        cr_assert_eq((int)lt_hdr_id(lt_span(text, name.n)), id, "%s", name.p);
        for (size_t i = 0; i < name.n; i++)
            text[i] = (char)tolower(name.p[i]);
        cr_assert_eq((int)lt_hdr_id(lt_span(text, name.n)), id, "%s", name.p);
    }
}

// One byte more, less or other makes it another field. (A bit of difference only: what a wrong hash or mask would miss.)
Test(headers, near_names_are_others) {
    for (int id = LT_HDR_OTHER + 1; id < LT_HDR_COUNT; id++) {
        struct lt_span name = lt_hdr_name((enum lt_hdr)id);
        char text[34];
        memcpy(text, name.p, name.n);
        text[name.n] = 'x';
        cr_assert_neq((int)lt_hdr_id(lt_span(text, name.n + 1)), id);
        cr_assert_neq((int)lt_hdr_id(lt_span(text, name.n - 1)), id);
        for (size_t i = 0; i < name.n; i++)
            for (int bit = 0; bit < 8; bit++) {
                memcpy(text, name.p, name.n);
                text[i] = (char)(text[i] ^ 1 << bit);
                if (!lt_token_ok(lt_span(text, name.n)))
                    continue; // no field name: the parser has refused it
                bool same = bit == 5 && isalpha((unsigned char)name.p[i]);
                cr_assert_eq((int)lt_hdr_id(lt_span(text, name.n)) == id, same, "%.*s", (int)name.n, text);
            }
    }
    cr_assert_eq(lt_hdr_id(LT_S("")), LT_HDR_OTHER);
    cr_assert_eq(lt_hdr_id(LT_S("Content-Encoding")), LT_HDR_OTHER);
    cr_assert_eq(lt_hdr_id(LT_S("A-Very-Long-Name-Of-A-Field-Of-More-Than-24")), LT_HDR_OTHER);
}

// --- the table ---

Test(headers, finds_in_order_and_passes_over_dropped_ones) {
    struct lt_arena a;
    struct lt_headers h;
    lt_arena_init(&a, 1 << 16);
    cr_assert(lt_headers_init(&h, &a));
    cr_assert_null(lt_headers_get(&h, LT_HDR_COOKIE));
    cr_assert_null(lt_headers_find(&h, LT_S("X-App")));
    cr_assert(lt_headers_add(&h, LT_S("Cookie"), LT_S("1")));
    cr_assert(lt_headers_add(&h, LT_S("X-App"), LT_S("2")));
    cr_assert(lt_headers_add(&h, LT_S("cookie"), LT_S("3")));
    struct lt_header *first = lt_headers_get(&h, LT_HDR_COOKIE), *second = lt_headers_next(&h, LT_HDR_COOKIE, first);
    cr_assert(lt_span_eq(first->value, LT_S("1")) && lt_span_eq(second->value, LT_S("3")));
    cr_assert_null(lt_headers_next(&h, LT_HDR_COOKIE, second));
    cr_assert_null(first->raw.p, "an added field has no raw line");
    cr_assert(lt_span_eq(lt_headers_find(&h, LT_S("x-APP"))->value, LT_S("2")));
    first->dropped = true;
    cr_assert_eq(lt_headers_get(&h, LT_HDR_COOKIE), second);
    cr_assert_eq(lt_headers_drop(&h, LT_HDR_COOKIE), 1, "those dropped before do not count");
    cr_assert_null(lt_headers_get(&h, LT_HDR_COOKIE));
    lt_headers_find(&h, LT_S("X-App"))->dropped = true;
    cr_assert_null(lt_headers_find(&h, LT_S("X-App")));
    lt_arena_fini(&a);
}

Test(headers, set_forgets_the_raw_line) {
    struct lt_header f = {.name = LT_S("Cookie"), .value = LT_S("a"), .raw = LT_S("Cookie: a\r\n"), .id = LT_HDR_COOKIE};
    lt_header_set(&f, LT_S("b"));
    cr_assert(lt_span_eq(f.value, LT_S("b")));
    cr_assert_null(f.raw.p);
}

Test(headers, grows_to_its_maximum_and_keeps_what_it_holds) {
    struct lt_arena a;
    struct lt_headers h;
    char names[LT_HEADERS_MAX + LT_HEADERS_ADDED][8];
    lt_arena_init(&a, 1 << 16);
    cr_assert(lt_headers_init(&h, &a));
    for (unsigned i = 0; i < COUNT(names); i++) {
        snprintf(names[i], sizeof names[i], "x%u", i);
        cr_assert(lt_headers_add(&h, lt_span_cstr(names[i]), LT_S("v")), "field %u", i);
    }
    cr_assert_not(lt_headers_add(&h, LT_S("one"), LT_S("more")));
    cr_assert_eq(h.n, COUNT(names));
    for (unsigned i = 0; i < COUNT(names); i++)
        cr_assert(lt_span_eq(h.v[i].name, lt_span_cstr(names[i])), "field %u", i);
    lt_arena_fini(&a);
}

Test(headers, no_memory_is_told) {
    struct lt_arena a;
    struct lt_headers h;
    lt_arena_init(&a, 16);
    cr_assert_not(lt_headers_init(&h, &a));
    lt_arena_fini(&a);
    lt_arena_init(&a, 24 * sizeof(struct lt_header)); // the first table, no second
    cr_assert(lt_headers_init(&h, &a));
    unsigned n = 0;
    while (n < 1000 && lt_headers_add(&h, LT_S("a"), LT_S("b")))
        n++;
    cr_assert_eq(n, 24);
    lt_arena_fini(&a);
}
