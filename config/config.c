// SPDX-License-Identifier: Apache-2.0
// Defaults, then the file, then the environment, then the flags; every finding of all of them.
#include "config/config.h"

#include "config/value.h"

#include <ctype.h>
#include <errno.h>
#include <libconfig.h>
#include <libgen.h>
#include <stdlib.h>
#include <sys/stat.h>

enum { ARENA_MAX = 8 << 20, NEAR = 4, ENTRIES_MAX = 256 };

struct loader {
    struct lt_config *config;
    struct lt_diag *diag;
};

// One option's place: its group, its row, and its index among all.
struct row {
    const struct lt_option_group *group;
    const struct lt_option *option;
    void *values;
    struct lt_config_source *source;
};

// Counts through all rows. False: `index` is behind the last.
static bool row_at(const struct lt_config *c, unsigned index, struct row *row) {
    unsigned flat = index;
    for (unsigned g = 0; g < c->n_groups; g++) {
        if (index < c->groups[g].n) {
            *row = (struct row){&c->groups[g], &c->groups[g].options[index], c->values[g], &c->sources[flat]};
            return true;
        }
        index -= c->groups[g].n;
    }
    return false;
}

static bool find_row(const struct lt_config *c, const char *name, bool environment, struct row *row) {
    char known[LT_OPTION_NAME];
    for (unsigned i = 0; row_at(c, i, row); i++) {
        (environment ? lt_option_environment : lt_option_name)(row->group, row->option, known);
        if (strcmp(known, name) == 0)
            return true;
    }
    return false;
}

// --- the nearest known name ---

// Levenshtein's distance, up to NEAR.
static unsigned distance(const char *a, const char *b) {
    unsigned line[LT_OPTION_NAME + 1], n = (unsigned)strlen(b);
    if (n > LT_OPTION_NAME)
        return NEAR;
    for (unsigned j = 0; j <= n; j++)
        line[j] = j;
    for (unsigned i = 1; *a; i++, a++) {
        unsigned diagonal = line[0];
        line[0] = i;
        for (unsigned j = 1; j <= n; j++) {
            unsigned best = diagonal + (tolower((unsigned char)*a) == tolower((unsigned char)b[j - 1]) ? 0 : 1);
            diagonal = line[j];
            best = line[j] + 1 < best ? line[j] + 1 : best;
            line[j] = line[j - 1] + 1 < best ? line[j - 1] + 1 : best;
        }
    }
    return line[n];
}

static void unknown(struct loader *l, const char *place, const char *prefix, const char *name, bool environment) {
    char known[LT_OPTION_NAME], nearest[LT_OPTION_NAME] = "";
    unsigned best = NEAR;
    struct row row;
    for (unsigned i = 0; strlen(name) < LT_OPTION_NAME && row_at(l->config, i, &row); i++) {
        (environment ? lt_option_environment : lt_option_name)(row.group, row.option, known);
        const char *last = strrchr(known, '.');
        unsigned d = distance(name, known);
        if (last && strcmp(last + 1, name) == 0)
            d = 1; // the group was forgotten
        if (d < best) {
            best = d;
            memcpy(nearest, known, sizeof known);
        }
    }
    if (*nearest)
        lt_diag_add(l->diag, "%s%s%s: no such option; did you mean \"%s%s\"?", place, prefix, name, prefix, nearest);
    else
        lt_diag_add(l->diag, "%s%s%s: no such option; \"lethe reference\" lists them all", place, prefix, name);
}

// --- the file ---

static void file_place(const struct loader *l, const config_setting_t *s, char *out, size_t size) {
    const char *file = config_setting_source_file(s);
    snprintf(out, size, "%s:%u: ", file ? file : l->config->path.p, config_setting_source_line(s));
}

// A scalar as text. False: it is none.
static bool scalar(const config_setting_t *s, char number[32], struct lt_span *text) {
    switch (config_setting_type(s)) {
    case CONFIG_TYPE_INT:
    case CONFIG_TYPE_INT64:
        snprintf(number, 32, "%lld", config_setting_get_int64(s));
        *text = lt_span_cstr(number);
        return true;
    case CONFIG_TYPE_BOOL:
        *text = lt_span_cstr(config_setting_get_bool(s) ? "true" : "false");
        return true;
    case CONFIG_TYPE_STRING:
        *text = lt_span_cstr(config_setting_get_string(s));
        return true;
    default:
        return false;
    }
}

static const char *read_entries(const config_setting_t *s, const struct row *row, struct lt_arena *arena) {
    struct lt_span entries[ENTRIES_MAX];
    char numbers[32];
    int n = config_setting_length(s);
    if (row->option->type != LT_OPT_LIST)
        return "is a list; write one value";
    if (n > ENTRIES_MAX)
        return "has too many entries; write 256 at the most";
    for (int i = 0; i < n; i++) {
        if (!scalar(config_setting_get_elem(s, (unsigned)i), numbers, &entries[i]))
            return "has an entry that is no text; write [\"a\", \"b\"]";
        entries[i] = lt_arena_dup(arena, entries[i]);
    }
    return lt_option_read_list(row->option, entries, (unsigned)n, row->values, arena);
}

static void file_value(struct loader *l, const config_setting_t *s, const char *name) {
    char place[512], number[32];
    struct row row;
    struct lt_span text;
    const char *wrong;
    file_place(l, s, place, sizeof place);
    if (!find_row(l->config, name, false, &row)) {
        unknown(l, place, "", name, false);
        return;
    }
    if (scalar(s, number, &text))
        wrong = lt_option_read(row.option, text, row.values, &l->config->arena);
    else if (config_setting_type(s) == CONFIG_TYPE_ARRAY || config_setting_type(s) == CONFIG_TYPE_LIST)
        wrong = read_entries(s, &row, &l->config->arena);
    else
        wrong = "takes one value; write it in quotes";
    if (wrong)
        lt_diag_add(l->diag, "%s%s: %s", place, name, wrong);
    else
        *row.source = (struct lt_config_source){LT_ORIGIN_FILE, (int)config_setting_source_line(s)};
}

static bool is_group(const struct lt_config *c, const char *name) {
    for (unsigned g = 0; g < c->n_groups; g++)
        if (*c->groups[g].prefix && strcmp(c->groups[g].prefix, name) == 0)
            return true;
    return false;
}

// NOLINTNEXTLINE(misc-no-recursion): as deep as the file nests its groups, which libconfig limits
static void file_group(struct loader *l, const config_setting_t *group, const char *prefix) {
    char name[256], place[512];
    for (int i = 0; i < config_setting_length(group); i++) {
        const config_setting_t *s = config_setting_get_elem(group, (unsigned)i);
        snprintf(name, sizeof name, "%s%s%s", prefix, *prefix ? "." : "", config_setting_name(s));
        struct row row;
        if (config_setting_is_group(s) && !find_row(l->config, name, false, &row)) {
            file_group(l, s, name);
        } else if (!config_setting_is_group(s) && is_group(l->config, name)) {
            file_place(l, s, place, sizeof place);
            lt_diag_add(l->diag, "%s%s: is a group; write %s: { … };", place, name, name);
        } else {
            file_value(l, s, name);
        }
    }
}

static void parse_file(struct loader *l, FILE *f, const char *path) {
    config_t file;
    char copy[4096];
    config_init(&file);
    snprintf(copy, sizeof copy, "%s", path);
    config_set_include_dir(&file, dirname(copy));
    if (config_read(&file, f)) {
        file_group(l, config_root_setting(&file), "");
    } else {
        const char *where = config_error_file(&file);
        lt_diag_add(l->diag,
                    "%s:%d: %s; write name = value; or group: { name = value; }; each name and each group "
                    "once",
                    where ? where : path, config_error_line(&file), config_error_text(&file));
    }
    config_destroy(&file);
}

static void load_file(struct loader *l, const char *path) {
    struct stat st;
    FILE *f = fopen(path, "re");
    if (!f || fstat(fileno(f), &st) != 0)
        lt_diag_add(l->diag, "%s: %s; write \"--config\" and a file that lethe may read", path, strerror(errno));
    else if (S_ISDIR(st.st_mode)) // libconfig would end the process
        lt_diag_add(l->diag, "%s: is a directory; write \"--config\" and a file", path);
    else
        parse_file(l, f, path);
    if (f)
        fclose(f);
}

// --- environment ---

// What Kubernetes sets in every pod of a namespace with a service named lethe: LETHE_SERVICE_HOST, LETHE_PORT_80_TCP_ADDR, ….
static bool is_service_link(const char *name) {
    return strstr(name, "_SERVICE_HOST") || strstr(name, "_SERVICE_PORT") || strstr(name, "_TCP") ||
           strstr(name, "_UDP") || (strlen(name) > 5 && strcmp(name + strlen(name) - 5, "_PORT") == 0);
}

static void load_environment(struct loader *l, char *const *environment) {
    static const struct lt_span mark = {"LETHE_", 6};
    for (; environment && *environment; environment++) {
        struct lt_span entry = lt_span_cstr(*environment);
        char name[256];
        struct row row;
        size_t n = lt_span_find(entry, '=');
        if (!lt_span_starts(entry, mark) || n == entry.n)
            continue;
        snprintf(name, sizeof name, "%.*s", (int)n, entry.p);
        if (!find_row(l->config, name, true, &row)) {
            if (!is_service_link(name))
                unknown(l, "environment: ", "", name, true);
            continue;
        }
        struct lt_span text = lt_span(entry.p + n + 1, entry.n - n - 1);
        if (text.n == 0 && row.option->type != LT_OPT_STRING && row.option->type != LT_OPT_LIST)
            continue; // "LETHE_X=": what compose files write for a variable that is not set
        const char *wrong = lt_option_read(row.option, text, row.values, &l->config->arena);
        if (wrong)
            lt_diag_add(l->diag, "environment: %s: %s", name, wrong);
        else
            *row.source = (struct lt_config_source){LT_ORIGIN_ENVIRONMENT, 0};
    }
}

// --- flags ---

// The value of a flag: behind "=", or the next argument. NULL: there is none.
static const char *flag_value(const struct row *row, const char *equals, char *const *flags, unsigned n, unsigned *i) {
    if (equals)
        return equals + 1;
    bool next = *i + 1 < n && strncmp(flags[*i + 1], "--", 2) != 0;
    if (row->option->type == LT_OPT_BOOL)
        return "true";
    return next ? flags[++*i] : NULL;
}

static void load_flag(struct loader *l, char *const *flags, unsigned n, unsigned *i) {
    const char *flag = flags[*i], *equals = strchr(flag, '=');
    char name[256];
    struct row row;
    if (strncmp(flag, "--", 2) != 0) {
        lt_diag_add(l->diag,
                    "argument \"%s\": not expected; write \"--option value\", or \"lethe help\" for all of them", flag);
        return;
    }
    snprintf(name, sizeof name, "%.*s", equals ? (int)(equals - flag - 2) : (int)strlen(flag + 2), flag + 2);
    if (!find_row(l->config, name, false, &row)) {
        unknown(l, "flag ", "--", name, false);
        if (!equals && *i + 1 < n && strncmp(flags[*i + 1], "--", 2) != 0)
            ++*i; // its value
        return;
    }
    const char *text = flag_value(&row, equals, flags, n, i);
    const char *wrong = text ? lt_option_read(row.option, lt_span_cstr(text), row.values, &l->config->arena) : NULL;
    if (!text)
        lt_diag_add(l->diag, "flag --%s: no value; write \"--%s VALUE\"", name, name);
    else if (wrong)
        lt_diag_add(l->diag, "flag --%s: %s", name, wrong);
    else
        *row.source = (struct lt_config_source){LT_ORIGIN_FLAG, 0};
}

// --- all of it ---

static bool make_values(struct lt_config *c) {
    unsigned rows = 0;
    c->values = lt_arena_zalloc(&c->arena, (c->n_groups + 1) * sizeof *c->values);
    for (unsigned g = 0; c->values && g < c->n_groups; g++) {
        rows += c->groups[g].n;
        c->values[g] = lt_arena_zalloc(&c->arena, c->groups[g].size + 1);
        if (!c->values[g])
            return false;
    }
    c->sources = lt_arena_zalloc(&c->arena, (rows + 1) * sizeof *c->sources);
    return c->values && c->sources;
}

static void load_defaults(struct loader *l) {
    struct row row;
    for (unsigned i = 0; row_at(l->config, i, &row); i++) {
        const char *wrong = lt_option_read(row.option, lt_span_cstr(row.option->fallback), row.values, &l->config->arena);
        if (wrong)
            lt_diag_add(l->diag, "default of %s.%s: %s", row.group->prefix, row.option->name, wrong);
    }
}

static void check_required(struct loader *l) {
    struct row row;
    char name[LT_OPTION_NAME];
    for (unsigned i = 0; row_at(l->config, i, &row); i++) {
        const struct lt_span *text =
            (const struct lt_span *)(const void *)((const char *)row.values + row.option->offset);
        if (!row.option->required || row.option->type != LT_OPT_STRING || text->n)
            continue;
        lt_option_name(row.group, row.option, name);
        lt_diag_add(l->diag, "%s: not given; write \"--%s 127.0.0.1:3000\", or %s = \"127.0.0.1:3000\"; in the file",
                    name, name, name);
    }
}

bool lt_config_load(struct lt_config *c, const struct lt_option_group *groups, unsigned n,
                    const struct lt_config_input *in, struct lt_diag *diag) {
    struct loader l = {c, diag};
    unsigned before = diag->n;
    *c = (struct lt_config){.groups = groups, .n_groups = n};
    lt_arena_init(&c->arena, ARENA_MAX);
    if (!make_values(c) || (in->path && !(c->path = lt_arena_dup(&c->arena, lt_span_cstr(in->path))).p)) {
        lt_diag_add(diag, "no memory");
        return false;
    }
    load_defaults(&l);
    if (in->path)
        load_file(&l, in->path);
    load_environment(&l, in->environment);
    for (unsigned i = 0; i < in->n_flags; i++)
        load_flag(&l, in->flags, in->n_flags, &i);
    if (diag->n == before && !in->for_tool)
        check_required(&l);
    for (unsigned g = 0; diag->n == before && g < n; g++)
        if (groups[g].check && !groups[g].check(c->values[g], diag))
            break;
    return diag->n == before;
}

void lt_config_fini(struct lt_config *c) {
    lt_arena_fini(&c->arena);
}

const void *lt_config_group(const struct lt_config *c, const char *prefix) {
    for (unsigned g = 0; c->values && g < c->n_groups; g++)
        if (strcmp(c->groups[g].prefix, prefix) == 0)
            return c->values[g];
    return NULL;
}

static const void *value_of(const struct lt_config *c, const char *name, enum lt_option_type type) {
    struct row row;
    return find_row(c, name, false, &row) && row.option->type == type ? (const char *)row.values + row.option->offset
                                                                      : NULL;
}

struct lt_span lt_config_text(const struct lt_config *c, const char *name) {
    const struct lt_span *text = value_of(c, name, LT_OPT_STRING);
    return text ? *text : lt_span(NULL, 0);
}

bool lt_config_bool(const struct lt_config *c, const char *name) {
    const bool *on = value_of(c, name, LT_OPT_BOOL);
    return on && *on;
}

const struct lt_option_list *lt_config_list(const struct lt_config *c, const char *name) {
    return value_of(c, name, LT_OPT_LIST);
}

int64_t lt_config_number(const struct lt_config *c, const char *name) {
    struct row row;
    if (!find_row(c, name, false, &row))
        return 0;
    const void *value = (const char *)row.values + row.option->offset;
    if (row.option->type == LT_OPT_ENUM)
        return *(const int *)value;
    if (row.option->type != LT_OPT_INT && row.option->type != LT_OPT_DURATION && row.option->type != LT_OPT_SIZE)
        return 0;
    return *(const int64_t *)value;
}
