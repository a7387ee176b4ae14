// SPDX-License-Identifier: Apache-2.0
#include "config/value.h"

#include "tests/rig/leaks.h"
#include "tests/unit/config/schema.h"

#include <criterion/criterion.h>
#include <stdio.h>

TestSuite(option, .fini = lt_rig_leaks);

static const struct lt_option *option(const char *name) {
    for (unsigned i = 0; i < schema_groups[1].n; i++)
        if (strcmp(schema_groups[1].options[i].name, name) == 0)
            return &schema_groups[1].options[i];
    cr_assert_fail("no option %s", name);
    return NULL;
}

// What comes of a text, as one would write it; or, behind "!", what is wrong with it.
Test(option, reads_and_writes) {
    static const struct {
        const char *name, *text, *want;
    } rows[] = {
        {"time", "500ms", "\"500ms\""},
        {"time", "90s", "\"90s\""},
        {"time", "120s", "\"2m\""},
        {"time", "24h", "\"1d\""},
        {"time", " 5M ", "\"5m\""},
        {"time", "30", "!\"30\" has no unit; write \"30m\""},
        {"time", "5ms", "!\"5ms\" is out of range; write 10ms to 1d"},
        {"time", "25h", "!\"25h\" is out of range; write 10ms to 1d"},
        {"time", "", "!\"\" is no duration; write a number and ms, s, m, h or d such as \"30s\""},
        {"time", "1.5h", "!\"1.5h\" is no duration; write a number and ms, s, m, h or d such as \"30s\""},
        {"time", "99999999999999999999s",
         "!\"99999999999999999999s\" is no duration; write a number and ms, s, m, h or d such as \"30s\""},
        {"time", "999999999999999d",
         "!\"999999999999999d\" is no duration; write a number and ms, s, m, h or d such as \"30s\""},
        {"size", "4096", "\"4k\""},
        {"size", "1g", "\"1g\""},
        {"size", "3M", "\"3m\""},
        {"size", "1000", "\"1000\""},
        {"size", "4kb", "!\"4kb\" is no size; write a number and k, m or g such as \"32k\""},
        {"count", "-5", "-5"},
        {"count", "101", "!\"101\" is out of range; write -5 to 100"},
        {"count", "many", "!\"many\" is no number; write -5 to 100"},
        {"color", "RED", "\"red\""},
        {"color", "blue", "!\"blue\" is none of the choices; write red, green"},
        {"on", "Yes", "true"},
        {"on", "0", "false"},
        {"on", "maybe", "!\"maybe\" is neither; write true or false"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct schema_part part = {0};
        struct lt_arena arena;
        lt_arena_init(&arena, 1 << 16);
        const struct lt_option *o = option(rows[i].name);
        const char *wrong = lt_option_read(o, lt_span_cstr(rows[i].text), &part, &arena);
        struct lt_span got = wrong ? lt_arena_printf(&arena, "!%s", wrong) : lt_option_format(o, &part, &arena);
        cr_assert(lt_span_eq(got, lt_span_cstr(rows[i].want)), "%s = %s: got %.*s", rows[i].name, rows[i].text,
                  (int)got.n, got.p);
        lt_arena_fini(&arena);
    }
}

Test(option, names) {
    char name[LT_OPTION_NAME];
    lt_option_name(&schema_groups[1], option("time"), name);
    cr_assert_str_eq(name, "part.time");
    lt_option_environment(&schema_groups[1], option("time"), name);
    cr_assert_str_eq(name, "LETHE_PART_TIME");
    lt_option_environment(&schema_groups[0], &schema_groups[0].options[0], name);
    cr_assert_str_eq(name, "LETHE_NAME");
}
