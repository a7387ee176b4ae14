// SPDX-License-Identifier: Apache-2.0
// The manual pages lethe.conf(5) and the options of lethe(8), from the rows that the reference is printed from.
#include "config/config.h"

#include "config/value.h"

#include <string.h>

enum { ARENA_MAX = 1 << 20 };

// troff takes a backslash, and a dot or an apostrophe that begins a line, for its own; a plain "-" may become a hyphen.
static void put(char c, FILE *out) {
    if (c == '\\')
        fputs("\\e", out);
    else if (c == '-')
        fputs("\\-", out);
    else if (c == '\'')
        fputs("\\(aq", out);
    else
        fputc(c, out);
}

// One sentence a line, as troff wants it; `code` in bold.
static void put_markdown(const char *text, FILE *out) {
    bool code = false, begins = true;
    for (; *text; text++) {
        if (begins && *text == '.')
            fputs("\\&", out);
        begins = false;
        if (*text == '`') {
            code = !code;
            fputs(code ? "\\fB" : "\\fR", out);
        } else if (*text == ' ' && !code && (text[-1] == '.' || text[-1] == ';')) {
            fputc('\n', out);
            begins = true;
        } else {
            put(*text, out);
        }
    }
    fputc('\n', out);
}

static void put_plain(struct lt_span text, FILE *out) {
    for (size_t i = 0; i < text.n; i++)
        put(text.p[i], out);
}

static void put_row(const struct lt_option_group *g, const struct lt_option *o, FILE *out) {
    char name[LT_OPTION_NAME], environment[LT_OPTION_NAME];
    struct lt_arena arena;
    lt_arena_init(&arena, ARENA_MAX);
    lt_option_name(g, o, name);
    lt_option_environment(g, o, environment);
    struct lt_span range = lt_option_range(o, &arena);
    fprintf(out, ".TP\n.B %s\n", name);
    put_markdown(o->doc ? o->doc : "", out);
    fprintf(out, ".br\n%s%s", lt_option_unit(o), o->type == LT_OPT_LIST ? " (list)" : "");
    if (range.n) {
        fputs(", ", out);
        put_plain(range, out);
    }
    if (o->required)
        fputs("; it must be given", out);
    else if (*o->fallback) {
        fputs("; default \\fB", out);
        put_plain(lt_span_cstr(o->fallback), out);
        fputs("\\fR", out);
    }
    fprintf(out, "; \\fB%s\\fR%s\n", environment, o->secret ? "; never printed" : "");
    lt_arena_fini(&arena);
}

void lt_config_man(const struct lt_option_group *groups, unsigned n, FILE *out) {
    fputs("A file of options in libconfig(3)'s syntax:\n.PP\n.EX\n"
          "listen = [\"0.0.0.0:8080\"];\nupstream = \"127.0.0.1:3000\";\nsession: { idle_ttl = \"2h\"; };\n.EE\n.PP\n"
          "Each value is the file's, then the environment's, then the flag's: the last one counts.\n"
          "An option\n.B session.idle_ttl\nis\n.B \\-\\-session.idle_ttl\non the command line.\n"
          "Durations have a unit: ms, s, m, h, d.\n"
          "Sizes may have one: k, m, g (powers of 1024).\n"
          "Lists are [\"a\", \"b\"] in the file, a,b elsewhere.\n",
          out);
    for (unsigned g = 0; g < n; g++) {
        fprintf(out, ".SH %s\n", *groups[g].prefix ? groups[g].prefix : "TOP LEVEL");
        for (unsigned i = 0; i < groups[g].n; i++)
            put_row(&groups[g], &groups[g].options[i], out);
    }
}
