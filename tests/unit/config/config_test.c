// SPDX-License-Identifier: Apache-2.0
#include "config/config.h"

#include "tests/rig/leaks.h"
#include "tests/unit/config/schema.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

TestSuite(config, .fini = lt_rig_leaks);

static char path[] = "/tmp/lethe-conf-XXXXXX";

// Loads; the findings are returned as one text, a line each, with the file's name as FILE.
static char *load(struct lt_config *c, const char *file, char **environment, char **flags) {
    static char text[4096];
    struct lt_arena arena;
    struct lt_diag diag;
    strcpy(path + sizeof path - 7, "XXXXXX");
    int fd = file ? mkstemp(path) : -1;
    cr_assert(!file || (fd >= 0 && write(fd, file, strlen(file)) == (ssize_t)strlen(file)));
    unsigned n = 0;
    while (flags && flags[n])
        n++;
    struct lt_config_input in = {.path = file ? path : NULL, .environment = environment, .flags = flags, .n_flags = n};
    lt_arena_init(&arena, 1 << 18);
    lt_diag_init(&diag, &arena);
    bool ok = lt_config_load(c, schema_groups, SCHEMA_GROUPS, &in, &diag);
    text[0] = '\0';
    for (const struct lt_finding *f = diag.first; f; f = f->next) {
        struct lt_span line = f->text;
        if (file && lt_span_starts(line, lt_span_cstr(path))) {
            strcat(text, "FILE");
            line = lt_span(line.p + strlen(path), line.n - strlen(path));
        }
        strncat(text, line.p, line.n);
        strcat(text, "\n");
    }
    cr_assert_eq(ok, diag.n == 0);
    lt_arena_fini(&arena);
    if (fd >= 0) {
        close(fd);
        unlink(path);
    }
    return text;
}

#define LIST(...) ((char *[]){__VA_ARGS__, NULL})

Test(config, the_flag_is_over_the_environment_over_the_file) {
    struct lt_config c;
    char *said =
        load(&c, "name = \"file\";\npart: { count = 1; time = \"1m\"; on = true; color = \"red\"; size = 4096; };\n",
             LIST("LETHE_NAME=environment", "LETHE_PART_TIME=2m", "LETHE_PART_COUNT=", "HOME=/root"),
             LIST("--part.time=3m", "--places", "/x,/y"));
    cr_assert_str_eq(said, "");
    const struct schema_top *top = lt_config_group(&c, "");
    const struct schema_part *part = lt_config_group(&c, "part");
    cr_assert(lt_span_eq(top->name, LT_S("environment")));
    cr_assert(part->time == 180000 && part->count == 1 && part->on && part->color == 0 && part->size == 4096);
    cr_assert(top->places.n == 2 && lt_span_eq(top->places.v[1], LT_S("/y")));
    cr_assert(lt_span_eq(lt_config_text(&c, "name"), LT_S("environment")));
    cr_assert_eq(lt_config_text(&c, "part.count").n, 0, "no text");
    const struct lt_option_list *places = lt_config_list(&c, "places");
    cr_assert(places && places->n == 2 && !lt_config_list(&c, "name") && !lt_config_list(&c, "none"));
    cr_assert(lt_config_bool(&c, "part.on") && !lt_config_bool(&c, "part.count") && !lt_config_bool(&c, "none"));
    cr_assert(lt_config_number(&c, "part.time") == 180000 && lt_config_number(&c, "part.size") == 4096);
    cr_assert_eq(lt_config_number(&c, "part.color"), 0, "red, the first of the choices");
    cr_assert(lt_config_number(&c, "part.on") == 0 && lt_config_number(&c, "part.none") == 0, "no number");
    cr_assert_null(lt_config_group(&c, "other"));
    lt_config_fini(&c);
}

Test(config, defaults_and_lists) {
    struct lt_config c;
    cr_assert_str_eq(load(&c, "name = \"x\";\nplaces = (\"/1\", \"/2\", \"/3\");\n", NULL, NULL), "");
    const struct schema_top *top = lt_config_group(&c, "");
    const struct schema_part *part = lt_config_group(&c, "part");
    cr_assert(top->places.n == 3 && part->time == 30 * 60000 && part->size == 32768 && part->color == 1 && !part->on);
    cr_assert_eq(lt_config_number(&c, "part.color"), 1, "green");
    lt_config_fini(&c);
    cr_assert_str_eq(load(&c, NULL, NULL, LIST("--name", "x", "--part.on", "--part.count", "-5")), "");
    part = lt_config_group(&c, "part");
    cr_assert(part->on && part->count == -5);
    lt_config_fini(&c);
}

// All of what is wrong is said, each with its place and what to write.
Test(config, findings) {
    static const struct {
        const char *file;
        char *environment[3], *flags[5];
        const char *said;
    } rows[] = {
        {NULL, {0}, {0}, "name: not given; write \"--name 127.0.0.1:3000\", or name = \"127.0.0.1:3000\"; in the file\n"},
        {"name = \"x\";\nnamee = 1;\npart: {\n  time = 30;\n  tme = 1;\n};\nplaces = [];\n",
         {0},
         {0},
         "FILE:2: namee: no such option; did you mean \"name\"?\n"
         "FILE:4: part.time: \"30\" has no unit; write \"30m\"\n"
         "FILE:5: part.tme: no such option; did you mean \"part.time\"?\n"
         "FILE:7: places: \"0 entries\" are out of range; write 1 to 3 entries\n"},
        {"name = \"x\";\nname = \"y\";\n",
         {0},
         {0},
         "FILE:2: duplicate setting name; write name = value; or group: { name = value; }; each name and each group "
         "once\n"},
        {"name = \"x\"\npart: {",
         {0},
         {0},
         "FILE:2: syntax error; write name = value; or group: { name = value; }; each name and each group once\n"},
        {"name = \"x\";\npart = 5;\n", {0}, {0}, "FILE:2: part: is a group; write part: { … };\n"},
        {"name: { a = 1; };\n", {0}, {0}, "FILE:1: name: takes one value; write it in quotes\n"},
        {"name = [1, 2];\n", {0}, {0}, "FILE:1: name: is a list; write one value\n"},
        {"time = \"5m\";\nname = \"x\";\n", {0}, {0}, "FILE:1: time: no such option; did you mean \"part.time\"?\n"},
        {NULL,
         {"LETHE_PART_TIM=5m", "LETHE_NAME=x"},
         {0},
         "environment: LETHE_PART_TIM: no such option; did you mean \"LETHE_PART_TIME\"?\n"},
        {NULL,
         {"LETHE_ABSURD=5m", "LETHE_NAME=x"},
         {0},
         "environment: LETHE_ABSURD: no such option; \"lethe reference\" lists them all\n"},
        {NULL, {"LETHE_PART_TIME=5", "LETHE_NAME=x"}, {0}, "environment: LETHE_PART_TIME: \"5\" has no unit; write \"5m\"\n"},
        {NULL, {0}, {"--nam=x"}, "flag --nam: no such option; did you mean \"--name\"?\n"},
        {NULL, {0}, {"--name"}, "flag --name: no value; write \"--name VALUE\"\n"},
        {NULL, {0}, {"--name", "--part.on"}, "flag --name: no value; write \"--name VALUE\"\n"},
        {NULL,
         {0},
         {"serve", "--name=x"},
         "argument \"serve\": not expected; write \"--option value\", or \"lethe help\" for all of them\n"},
        {NULL, {0}, {"--name=x", "--places=a,/b"}, "flag --places: \"a\" cannot be used; write \"/place\"\n"},
        {NULL, {0}, {"--name=x", "--password=hunter2"}, "flag --password: the value cannot be used; write \"/place\"\n"},
        {NULL, {0}, {"--name=a\nb"}, "flag --name: \"…\" holds a control character; write plain text\n"},
        {NULL, {0}, {"--name=x", "--part.count=13"}, "part.count: 13 brings bad luck; write 12\n"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct lt_config c;
        char *said = load(&c, rows[i].file, (char **)rows[i].environment, (char **)rows[i].flags);
        cr_assert_str_eq(said, rows[i].said, "row %zu: %s", i, said);
        lt_config_fini(&c);
    }
}

Test(config, service_links_of_kubernetes_are_no_options) {
    struct lt_config c;
    cr_assert_str_eq(
        load(&c, NULL,
             LIST("LETHE_NAME=x", "LETHE_SERVICE_HOST=10.0.0.1", "LETHE_SERVICE_PORT=80",
                  "LETHE_PORT=tcp://10.0.0.1:80", "LETHE_PORT_80_TCP_ADDR=10.0.0.1", "LETHE_SERVICE_PORT_HTTP=80"),
             NULL),
        "");
    lt_config_fini(&c);
}

Test(config, files_that_cannot_be_read) {
    struct lt_config c;
    struct lt_arena arena;
    struct lt_diag diag;
    static const char *const paths[] = {"/nonexistent/lethe.conf", "/tmp"};
    static const char *const said[] = {
        "/nonexistent/lethe.conf: No such file or directory; write \"--config\" and a file that lethe may read",
        "/tmp: is a directory; write \"--config\" and a file"};
    for (int i = 0; i < 2; i++) {
        lt_arena_init(&arena, 1 << 16);
        lt_diag_init(&diag, &arena);
        struct lt_config_input in = {.path = paths[i]};
        cr_assert_not(lt_config_load(&c, schema_groups, SCHEMA_GROUPS, &in, &diag));
        cr_assert(lt_span_eq(diag.first->text, lt_span_cstr(said[i])), "%.*s", (int)diag.first->text.n,
                  diag.first->text.p);
        lt_config_fini(&c);
        lt_arena_fini(&arena);
    }
}
