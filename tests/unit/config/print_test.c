// SPDX-License-Identifier: Apache-2.0
#include "config/config.h"

#include "tests/rig/leaks.h"
#include "tests/unit/config/schema.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>

TestSuite(print, .fini = lt_rig_leaks);

static char *flags[] = {"--name=a \"b\"", "--password=/hunter2", "--part.time=120s"};
static char *environment[] = {"LETHE_PLACES=/x,/y", NULL};

static void load(struct lt_config *c) {
    struct lt_arena arena;
    struct lt_diag diag;
    struct lt_config_input in = {.environment = environment, .flags = flags, .n_flags = 3};
    lt_arena_init(&arena, 1 << 16);
    lt_diag_init(&diag, &arena);
    cr_assert(lt_config_load(c, schema_groups, SCHEMA_GROUPS, &in, &diag));
    lt_arena_fini(&arena);
}

Test(print, effective_values_with_their_origin) {
    struct lt_config c;
    char *text;
    size_t n;
    load(&c);
    FILE *out = open_memstream(&text, &n);
    lt_config_print(&c, out);
    fclose(out);
    cr_assert_str_eq(text,
                     "name = \"a \\\"b\\\"\";                               # --name\n"
                     "password = \"(hidden)\";                          # --password\n"
                     "places = [\"/x\", \"/y\"];                          # LETHE_PLACES\n"
                     "part: {\n"
                     "  count = 3;                                    # default\n"
                     "  time = \"2m\";                                  # --part.time\n"
                     "  size = \"32k\";                                 # default\n"
                     "  color = \"green\";                              # default\n"
                     "  on = false;                                   # default\n"
                     "};\n",
                     "%s", text);
    free(text);
    lt_config_fini(&c);
}

// Nothing that stands in the schema is missing from the reference.
Test(print, reference_has_every_option) {
    char *text;
    size_t n;
    FILE *out = open_memstream(&text, &n);
    lt_config_reference(schema_groups, SCHEMA_GROUPS, out);
    fclose(out);
    static const char *const wanted[] = {"## Top level",
                                         "## part",
                                         "### `name`",
                                         "### `part.time`",
                                         "| default | `30m` |",
                                         "10ms to 1d",
                                         "`--part.time`",
                                         "`LETHE_PART_TIME`",
                                         "| range | red, green |",
                                         "When.",
                                         "| secret | never printed |",
                                         "| default | none: it must be given |",
                                         "places (list)"};
    for (size_t i = 0; i < sizeof wanted / sizeof *wanted; i++)
        cr_assert(strstr(text, wanted[i]), "%s is missing from:\n%s", wanted[i], text);
    free(text);
}

Test(print, usage_is_a_line_an_option) {
    char *text;
    size_t n, lines = 0;
    FILE *out = open_memstream(&text, &n);
    lt_config_usage(schema_groups, SCHEMA_GROUPS, out);
    fclose(out);
    for (const char *p = text; *p; p++)
        lines += *p == '\n';
    cr_assert_eq(lines, 8);
    free(text);
}
