// SPDX-License-Identifier: Apache-2.0
#include "modules/session/client.h"

#include "tests/rig/leaks.h"

#include <criterion/criterion.h>
#include <stdlib.h>

static struct lt_arena arena;
static char text[CLIENT_PARTS * CLIENT_PART + 1];

static void begin(void) {
    lt_arena_init(&arena, 1 << 24);
    for (size_t i = 0; i < sizeof text; i++)
        text[i] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_."[i * 31 % 65];
}

static void end(void) {
    lt_arena_fini(&arena);
    lt_rig_leaks();
}

TestSuite(client, .init = begin, .fini = end);

static struct lt_span join(const struct client_cookie *c) {
    return client_join(c, sizeof text, &arena);
}

Test(client, every_size_comes_back) {
    static const size_t sizes[] = {1, 3899, 3900, 3901, 7797, 7798, 7799, 11697, 11698, 11699, 16384, 35097, 35098};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        struct client_cookie c;
        struct lt_span value = lt_span(text, sizes[i]);
        unsigned n = client_split(value, &c, &arena);
        cr_assert(n >= 1 && n <= CLIENT_PARTS);
        for (unsigned k = 0; k < CLIENT_PARTS; k++)
            cr_assert(c.part[k].n <= CLIENT_PART && (c.part[k].n > 0) == (k < n), "%zu: part %u", sizes[i], k);
        cr_assert(lt_span_eq(join(&c), value), "%zu", sizes[i]);
        cr_assert(n == 1 || client_join(&c, sizes[i] - 1, &arena).n == 0, "over the limit");
    }
    struct client_cookie c;
    cr_assert_eq(client_split(lt_span(text, 35101), &c, &arena), 0);
}

Test(client, a_part_that_is_missing_or_moved_makes_another_value_or_none) {
    struct client_cookie good, c;
    struct lt_span value = lt_span(text, 11000);
    cr_assert_eq(client_split(value, &good, &arena), 3);
    for (unsigned k = 0; k < 3; k++) {
        c = good;
        c.part[k] = lt_span(NULL, 0);
        cr_assert(join(&c).n == 0 || k == 0);
    }
    c = good;
    c.part[1] = good.part[2];
    c.part[2] = good.part[1];
    cr_assert_not(lt_span_eq(join(&c), value));
    c = good;
    c.part[0] = LT_S("3~");
    cr_assert_not(lt_span_eq(join(&c), value));
    c = good;
    c.part[3] = LT_S("left over from a longer one");
    cr_assert(lt_span_eq(join(&c), value));
    c = (struct client_cookie){.part = {LT_S("token"), LT_S("left over")}};
    cr_assert(lt_span_eq(join(&c), LT_S("token")));
}

Test(client, marks_that_are_none) {
    static const char *const firsts[] = {"0~x", "1~x", ":~x", "~", "2", "2-x", "12~x", ""};
    for (size_t i = 0; i < sizeof firsts / sizeof *firsts; i++) {
        struct client_cookie c = {.part = {lt_span_cstr(firsts[i]), LT_S("b")}};
        cr_assert(lt_span_eq(join(&c), lt_span_cstr(firsts[i])), "\"%s\"", firsts[i]);
    }
}

Test(client, names) {
    static const struct {
        const char *name;
        int part;
    } rows[] = {{"lethe", 0},   {"lethe.1", 1}, {"lethe.8", 8}, {"lethe.9", -1}, {"lethe.0", -1}, {"lethe.11", -1},
                {"lethe.", -1}, {"lethe1", -1}, {"leth", -1},   {"Lethe", -1},   {"", -1}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        cr_assert_eq(client_part_of(lt_span_cstr(rows[i].name), LT_S("lethe")), rows[i].part, "%s", rows[i].name);
}
