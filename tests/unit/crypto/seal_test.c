// SPDX-License-Identifier: Apache-2.0
#include "crypto/seal.h"

#include "crypto/token.h"
#include "tests/rig/leaks.h"

#include <criterion/criterion.h>
#include <stdlib.h>

TestSuite(seal, .fini = lt_rig_leaks);

static struct lt_key_ring ring_of(const char *first, const char *second) {
    struct lt_key_ring ring = {.n = second ? 2 : 1};
    strcpy(ring.keys[0].id, first);
    memset(ring.keys[0].secret, first[0], LT_KEY_BYTES);
    if (second) {
        strcpy(ring.keys[1].id, second);
        memset(ring.keys[1].secret, second[0], LT_KEY_BYTES);
    }
    return ring;
}

static const struct lt_seal_context record = {{"record", 6}, {"0123456789abcdef0123456789abcdef", 32}};

Test(seal, round_trip_of_every_size) {
    struct lt_key_ring ring = ring_of("new", NULL);
    for (size_t size = 0; size < 100; size++) {
        uint8_t plain[100], sealed[200], back[200];
        size_t n;
        cr_assert(lt_random(plain, sizeof plain));
        size_t length = lt_seal(&ring, record, LT_S("name"), lt_span((char *)plain, size), sealed);
        cr_assert(length > size && length <= lt_seal_size(size));
        cr_assert(lt_open(&ring, record, LT_S("name"), lt_span((char *)sealed, length), back, &n, NULL));
        cr_assert(n == size && memcmp(plain, back, n) == 0);
    }
}

Test(seal, any_changed_bit_and_any_cut_is_refused) {
    struct lt_key_ring ring = ring_of("new", NULL);
    uint8_t sealed[200], back[200];
    size_t n, length = lt_seal(&ring, record, LT_S("name"), LT_S("what is kept"), sealed);
    for (size_t bit = 0; bit < length * 8; bit++) {
        sealed[bit / 8] ^= (uint8_t)(1u << bit % 8);
        cr_assert_not(lt_open(&ring, record, LT_S("name"), lt_span((char *)sealed, length), back, &n, NULL), "bit %zu",
                      bit);
        sealed[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    for (size_t cut = 0; cut < length; cut++) {
        uint8_t *exact = malloc(cut + 1); // so that reading behind it is seen
        memcpy(exact, sealed, cut);
        cr_assert_not(lt_open(&ring, record, LT_S("name"), lt_span((char *)exact, cut), back, &n, NULL), "cut at %zu",
                      cut);
        free(exact);
    }
}

Test(seal, context_and_binding_take_part) {
    struct lt_key_ring ring = ring_of("new", NULL);
    uint8_t sealed[200], back[200];
    size_t n, length = lt_seal(&ring, record, LT_S("name"), LT_S("plain"), sealed);
    struct lt_span text = lt_span((char *)sealed, length);
    struct lt_seal_context other_purpose = {LT_S("cookie"), record.secret},
                           other_secret = {record.purpose, LT_S("another")}, no_secret = {record.purpose, {NULL, 0}};
    cr_assert_not(lt_open(&ring, other_purpose, LT_S("name"), text, back, &n, NULL));
    cr_assert_not(lt_open(&ring, other_secret, LT_S("name"), text, back, &n, NULL));
    cr_assert_not(lt_open(&ring, no_secret, LT_S("name"), text, back, &n, NULL));
    cr_assert_not(lt_open(&ring, record, LT_S("other"), text, back, &n, NULL));
    cr_assert(lt_open(&ring, record, LT_S("name"), text, back, &n, NULL));
}

Test(seal, the_first_key_seals_and_all_open) {
    struct lt_key_ring old = ring_of("old", NULL), both = ring_of("new", "old"), fresh = ring_of("new", NULL);
    uint8_t sealed[200], back[200];
    size_t n;
    unsigned index;
    size_t length = lt_seal(&old, record, LT_S(""), LT_S("plain"), sealed);
    cr_assert(lt_open(&both, record, LT_S(""), lt_span((char *)sealed, length), back, &n, &index));
    cr_assert_eq(index, 1);
    cr_assert_not(lt_open(&fresh, record, LT_S(""), lt_span((char *)sealed, length), back, &n, NULL),
                  "its key is gone");
    length = lt_seal(&both, record, LT_S(""), LT_S("plain"), sealed);
    cr_assert(lt_open(&fresh, record, LT_S(""), lt_span((char *)sealed, length), back, &n, &index));
    cr_assert_eq(index, 0);
}

Test(seal, never_the_same_text_twice_and_not_without_a_key) {
    struct lt_key_ring ring = ring_of("new", NULL), none = {.n = 0};
    uint8_t a[200], b[200];
    size_t length = lt_seal(&ring, record, LT_S(""), LT_S("plain"), a);
    cr_assert_eq(lt_seal(&ring, record, LT_S(""), LT_S("plain"), b), length);
    cr_assert_neq(memcmp(a, b, length), 0);
    cr_assert_eq(lt_seal(&none, record, LT_S(""), LT_S("plain"), a), 0);
}
