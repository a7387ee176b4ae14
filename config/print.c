// SPDX-License-Identifier: Apache-2.0
#include "config/config.h"

#include "config/value.h"

enum { ARENA_MAX = 1 << 20, COLUMN = 48 };

static void print_origin(const struct lt_config *c, const struct lt_option_group *g, const struct lt_option *o,
                         const struct lt_config_source *source, FILE *out) {
    char name[LT_OPTION_NAME];
    switch (source->origin) {
    case LT_ORIGIN_FILE:
        fprintf(out, "# %.*s:%d\n", (int)c->path.n, c->path.p, source->line);
        break;
    case LT_ORIGIN_ENVIRONMENT:
        lt_option_environment(g, o, name);
        fprintf(out, "# %s\n", name);
        break;
    case LT_ORIGIN_FLAG:
        lt_option_name(g, o, name);
        fprintf(out, "# --%s\n", name);
        break;
    default:
        fputs("# default\n", out);
    }
}

static bool is_set(const struct lt_option *o, const void *values) {
    return o->type != LT_OPT_STRING || ((const struct lt_span *)(const void *)((const char *)values + o->offset))->n;
}

static void print_value(const struct lt_config *c, const struct lt_option_group *g, unsigned i, const void *values,
                        const struct lt_config_source *source, FILE *out) {
    const struct lt_option *o = &g->options[i];
    struct lt_arena arena;
    lt_arena_init(&arena, ARENA_MAX);
    struct lt_span text = o->secret && is_set(o, values) ? LT_S("\"(hidden)\"") : lt_option_format(o, values, &arena);
    int n = fprintf(out, "%s%s = %.*s;", *g->prefix ? "  " : "", o->name, (int)text.n, text.p ? text.p : "");
    fprintf(out, "%*s", n < COLUMN ? COLUMN - n : 1, "");
    print_origin(c, g, o, source, out);
    lt_arena_fini(&arena);
}

void lt_config_print(const struct lt_config *c, FILE *out) {
    const struct lt_config_source *source = c->sources;
    for (unsigned g = 0; g < c->n_groups; g++) {
        const struct lt_option_group *group = &c->groups[g];
        if (*group->prefix)
            fprintf(out, "%s: {\n", group->prefix);
        for (unsigned i = 0; i < group->n; i++)
            print_value(c, group, i, c->values[g], source++, out);
        if (*group->prefix)
            fputs("};\n", out);
    }
}

const char *lt_option_unit(const struct lt_option *o) {
    static const char *const units[] = {
        [LT_OPT_STRING] = "text",       [LT_OPT_BOOL] = "true or false", [LT_OPT_INT] = "number",
        [LT_OPT_DURATION] = "duration", [LT_OPT_SIZE] = "bytes",         [LT_OPT_ENUM] = "choice",
        [LT_OPT_LIST] = "list",
    };
    return o->unit ? o->unit : units[o->type];
}

static void print_row(const struct lt_option_group *g, const struct lt_option *o, FILE *out) {
    char name[LT_OPTION_NAME], environment[LT_OPTION_NAME];
    struct lt_arena arena;
    lt_arena_init(&arena, ARENA_MAX);
    lt_option_name(g, o, name);
    lt_option_environment(g, o, environment);
    struct lt_span range = lt_option_range(o, &arena);
    fprintf(out, "### `%s`\n\n%s\n\n", name, o->doc ? o->doc : "");
    fprintf(out, "| | |\n|---|---|\n| type | %s%s |\n", lt_option_unit(o), o->type == LT_OPT_LIST ? " (list)" : "");
    if (o->required)
        fputs("| default | none: it must be given |\n", out);
    else
        fprintf(out, "| default | %s%s%s |\n", *o->fallback ? "`" : "", *o->fallback ? o->fallback : "empty",
                *o->fallback ? "`" : "");
    if (range.n)
        fprintf(out, "| range | %.*s |\n", (int)range.n, range.p);
    fprintf(out, "| flag | `--%s` |\n| environment | `%s` |\n", name, environment);
    if (o->secret)
        fputs("| secret | never printed |\n", out);
    fputc('\n', out);
    lt_arena_fini(&arena);
}

void lt_config_reference(const struct lt_option_group *groups, unsigned n, FILE *out) {
    fputs("# Options\n\n"
          "Printed by `lethe reference` from the option schema. Each value is the file's, then the environment's, then "
          "the flag's: the last one\n"
          "counts. In the file, `session.idle_ttl` is written `session: { idle_ttl = \"30m\"; };`.\n\n"
          "Durations have a unit: `ms`, `s`, `m`, `h`, `d`. Sizes may have one: `k`, `m`, `g` (powers of 1024). Lists "
          "are `[\"a\", \"b\"]` in the file,\n"
          "`a,b` elsewhere.\n\n",
          out);
    for (unsigned g = 0; g < n; g++) {
        fprintf(out, "## %s\n\n", *groups[g].prefix ? groups[g].prefix : "Top level");
        for (unsigned i = 0; i < groups[g].n; i++)
            print_row(&groups[g], &groups[g].options[i], out);
    }
}

void lt_config_usage(const struct lt_option_group *groups, unsigned n, FILE *out) {
    char name[LT_OPTION_NAME];
    for (unsigned g = 0; g < n; g++)
        for (unsigned i = 0; i < groups[g].n; i++) {
            const struct lt_option *o = &groups[g].options[i];
            lt_option_name(&groups[g], o, name);
            fprintf(out, "  --%-30s %s%s%s%s\n", name, lt_option_unit(o), *o->fallback ? ", default " : "",
                    strlen(o->fallback) < 32 ? o->fallback : "see the reference", o->required ? ", required" : "");
        }
}
