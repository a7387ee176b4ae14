// SPDX-License-Identifier: Apache-2.0
#include "modules/session/sealed.h"

#include "tests/rig/leaks.h"

#include <criterion/criterion.h>
#include <stdlib.h>

static const int64_t now = 1763942400000, idle = 60000, absolute = 600000;
static struct lt_arena arena;

static void begin(void) {
    lt_arena_init(&arena, 1 << 22);
}

static void end(void) {
    lt_arena_fini(&arena);
    lt_rig_leaks();
}

TestSuite(sealed, .init = begin, .fini = end);

static const char known_cookie[] = "AQFrAAECAwQFBgcICQoLNKT10Wd2TOsI8IGaI11r0t9rya-6vo4UcKDDfMSHqK4lmjeyAWlg"
                                   "h_vA29InYHgmd3qpIE_HSnyFx4oks1Bv71ri_mrQoAOEUaMbNJzdg5hjMi8hhqhCrbb_TSLX";

static struct client_limits at(int64_t when) {
    return (struct client_limits){when, idle, absolute, 16384};
}

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

static struct lt_span make(const struct lt_key_ring *keys, const struct lt_record *r, size_t max, bool *too_large) {
    struct client_limits limits = at(now);
    limits.max = max;
    return sealed_make(keys, LT_S("lethe"), r, &limits, &arena, too_large);
}

static bool opens(const struct lt_key_ring *keys, const char *name, struct lt_span value, int64_t when) {
    struct client_limits limits = at(when);
    const struct lt_key *key = NULL;
    struct lt_record *r = sealed_open(keys, lt_span_cstr(name), value, &limits, &key);
    cr_assert(!r || (key && lt_record_cookie(r, LT_S("PHPSESSID"))));
    lt_record_free(r);
    return r != NULL;
}

Test(sealed, opens_what_it_made_and_nothing_else) {
    struct lt_key_ring mine = ring(1), other = ring(2);
    bool too_large;
    struct lt_record *r = with_cookie(20);
    struct lt_span value = make(&mine, r, 16384, &too_large);
    cr_assert(value.p && !too_large);
    cr_assert(opens(&mine, "lethe", value, now + 1));
    cr_assert_not(opens(&other, "lethe", value, now + 1));
    cr_assert_not(opens(&mine, "other", value, now + 1), "bound to its name");
    cr_assert_not(opens(&mine, "lethe", LT_S(""), now));
    lt_record_free(r);
}

Test(sealed, any_changed_bit_and_any_cut_is_refused) {
    struct lt_key_ring mine = ring(1);
    bool too_large;
    struct lt_record *r = with_cookie(20);
    struct lt_span value = make(&mine, r, 16384, &too_large);
    char *text = (char *)value.p;
    for (size_t bit = 0; bit < value.n * 8; bit++) {
        text[bit / 8] = (char)(text[bit / 8] ^ (1 << bit % 8));
        cr_assert_not(opens(&mine, "lethe", value, now), "bit %zu", bit);
        text[bit / 8] = (char)(text[bit / 8] ^ (1 << bit % 8));
    }
    for (size_t n = 0; n < value.n; n++)
        cr_assert_not(opens(&mine, "lethe", lt_span(value.p, n), now), "cut at %zu", n);
    cr_assert(opens(&mine, "lethe", value, now));
    lt_record_free(r);
}

// Made by another implementation (Python's cryptography) from the description in seal.h and record.h: what clients hold is read by every
// later version.
Test(sealed, known_answer) {
    struct lt_key_ring mine = ring(1);
    struct client_limits limits = at(now);
    struct lt_record *r = sealed_open(&mine, LT_S("lethe"), lt_span_cstr(known_cookie), &limits, NULL);
    cr_assert(r);
    const struct lt_record_cookie *c = lt_record_cookie(r, LT_S("PHPSESSID"));
    cr_assert(c && lt_span_eq(c->value, LT_S("known")) && lt_span_eq(c->path, LT_S("/")) && c->http_only && !c->secure);
    cr_assert(r->created == now && r->id[0] == 7 && r->id[15] == 7);
    lt_record_free(r);
}

Test(sealed, limits_of_time) {
    struct lt_key_ring mine = ring(1);
    bool too_large;
    struct lt_record *r = with_cookie(20);
    struct lt_span value = make(&mine, r, 16384, &too_large);
    cr_assert(opens(&mine, "lethe", value, now + idle));
    cr_assert_not(opens(&mine, "lethe", value, now + idle + 1));
    r->used = now + absolute; // used to the last
    value = make(&mine, r, 16384, &too_large);
    cr_assert(opens(&mine, "lethe", value, now + absolute));
    cr_assert_not(opens(&mine, "lethe", value, now + absolute + 1));
    lt_record_free(r);
}

Test(sealed, too_large_is_said) {
    struct lt_key_ring mine = ring(1);
    bool too_large;
    struct lt_record *fits = with_cookie(2700), *not = with_cookie(3900), *far = with_cookie(60000);
    cr_assert(make(&mine, fits, 3900, &too_large).p && !too_large);
    cr_assert(!make(&mine, not, 3900, &too_large).p && too_large);
    cr_assert(!make(&mine, far, 3900, &too_large).p && too_large);
    cr_assert(make(&mine, not, 16384, &too_large).p && !too_large);
    lt_record_free(fits);
    lt_record_free(not );
    lt_record_free(far);
}
