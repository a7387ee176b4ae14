// SPDX-License-Identifier: Apache-2.0
#include "modules/session/sealed.h"

#include "tests/rig/leaks.h"

#include <criterion/criterion.h>
#include <stdlib.h>

TestSuite(sealed, .fini = lt_rig_leaks);

static const int64_t now = 1763942400000, idle = 60000, absolute = 600000;

static struct lt_key_ring ring(char fill) {
    struct lt_key_ring r = {.n = 1, .keys = {{.id = "k"}}};
    memset(r.keys[0].secret, fill, LT_KEY_BYTES);
    return r;
}

static struct lt_record *with_cookie(size_t size) {
    struct lt_record *r = lt_record_new(now);
    char *value = malloc(size + 1);
    memset(value, 'x', size);
    struct lt_record_cookie c = {.name = LT_S("PHPSESSID"), .value = lt_span(value, size)};
    cr_assert(r && lt_record_set_cookie(r, &c));
    free(value);
    return r;
}

Test(sealed, opens_what_it_made_and_nothing_else) {
    struct lt_key_ring mine = ring(1), other = ring(2);
    struct lt_arena arena;
    bool too_large;
    lt_arena_init(&arena, 1 << 16);
    struct lt_record *r = with_cookie(20);
    struct lt_span value = sealed_make(&mine, LT_S("lethe"), r, &arena, &too_large);
    cr_assert(value.p && !too_large);
    struct lt_record *back = sealed_open(&mine, LT_S("lethe"), value, now + 1, idle, absolute);
    cr_assert(back && lt_record_cookie(back, LT_S("PHPSESSID"))->value.n == 20);
    cr_assert_null(sealed_open(&other, LT_S("lethe"), value, now + 1, idle, absolute));
    cr_assert_null(sealed_open(&mine, LT_S("other"), value, now + 1, idle, absolute), "bound to its name");
    char *text = (char *)value.p;
    text[value.n / 2] ^= 1;
    cr_assert_null(sealed_open(&mine, LT_S("lethe"), value, now + 1, idle, absolute));
    cr_assert_null(sealed_open(&mine, LT_S("lethe"), LT_S(""), now, idle, absolute));
    lt_record_free(r);
    lt_record_free(back);
    lt_arena_fini(&arena);
}

Test(sealed, limits_of_time) {
    struct lt_key_ring mine = ring(1);
    struct lt_arena arena;
    bool too_large;
    lt_arena_init(&arena, 1 << 16);
    struct lt_record *r = with_cookie(20), *back;
    struct lt_span value = sealed_make(&mine, LT_S("lethe"), r, &arena, &too_large);
    back = sealed_open(&mine, LT_S("lethe"), value, now + idle, idle, absolute);
    cr_assert(back);
    lt_record_free(back);
    cr_assert_null(sealed_open(&mine, LT_S("lethe"), value, now + idle + 1, idle, absolute));
    r->used = now + absolute; // used to the last
    value = sealed_make(&mine, LT_S("lethe"), r, &arena, &too_large);
    back = sealed_open(&mine, LT_S("lethe"), value, now + absolute, idle, absolute);
    cr_assert(back);
    lt_record_free(back);
    cr_assert_null(sealed_open(&mine, LT_S("lethe"), value, now + absolute + 1, idle, absolute));
    lt_record_free(r);
    lt_arena_fini(&arena);
}

Test(sealed, too_large_is_said) {
    struct lt_key_ring mine = ring(1);
    struct lt_arena arena;
    bool too_large;
    lt_arena_init(&arena, 1 << 16);
    struct lt_record *fits = with_cookie(2700), *not = with_cookie(3900);
    cr_assert(sealed_make(&mine, LT_S("lethe"), fits, &arena, &too_large).p && !too_large);
    cr_assert(!sealed_make(&mine, LT_S("lethe"), not, &arena, &too_large).p && too_large);
    lt_record_free(fits);
    lt_record_free(not );
    lt_arena_fini(&arena);
}
