// SPDX-License-Identifier: Apache-2.0
#include "config/pattern.h"
#include "config/value.h"

#include <ctype.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

enum { FINDING_MAX = 1024, ENTRIES_MAX = 256, NUMBER = 32 };

void lt_diag_init(struct lt_diag *d, struct lt_arena *arena) {
    *d = (struct lt_diag){.arena = arena, .last = &d->first};
}

void lt_diag_add(struct lt_diag *d, const char *format, ...) {
    char text[FINDING_MAX];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    d->n++; // counted even when there is no room for its text
    struct lt_finding *f = lt_arena_zalloc(d->arena, sizeof *f);
    if (!f)
        return;
    f->text = lt_arena_dup(d->arena, lt_span_cstr(text));
    *d->last = f;
    d->last = &f->next;
}

void lt_option_name(const struct lt_option_group *g, const struct lt_option *o, char out[LT_OPTION_NAME]) {
    snprintf(out, LT_OPTION_NAME, "%s%s%s", g->prefix, *g->prefix ? "." : "", o->name);
}

void lt_option_environment(const struct lt_option_group *g, const struct lt_option *o, char out[LT_OPTION_NAME]) {
    snprintf(out, LT_OPTION_NAME, "LETHE_%s%s%s", g->prefix, *g->prefix ? "_" : "", o->name);
    for (char *c = out; *c; c++)
        *c = (char)toupper((unsigned char)*c);
}

// --- numbers with units ---

struct unit {
    const char *name;
    int64_t factor;
};

// The largest first.
static const struct unit durations[] = {
    {"d", 24 * 3600 * 1000}, {"h", 3600 * 1000}, {"m", 60 * 1000}, {"s", 1000}, {"ms", 1}, {NULL, 0}};
static const struct unit sizes[] = {{"g", 1 << 30}, {"m", 1 << 20}, {"k", 1 << 10}, {"", 1}, {NULL, 0}};
static const struct unit plain[] = {{"", 1}, {NULL, 0}};

static const struct unit *units_of(const struct lt_option *o) {
    return o->type == LT_OPT_DURATION ? durations : o->type == LT_OPT_SIZE ? sizes : plain;
}

static const char *format_number(const struct unit *units, int64_t v, char out[NUMBER]) {
    while (units[1].name && (v == 0 ? units->factor != 1 && units[1].factor != 1 : v % units->factor != 0))
        units++;
    snprintf(out, NUMBER, "%" PRId64 "%s", v / units->factor, units->name);
    return out;
}

// The unit that a forgetful writer probably means: the one of the option's default.
static const char *likely_unit(const struct lt_option *o) {
    const char *u = o->fallback;
    while (*u && !isalpha((unsigned char)*u))
        u++;
    return *u ? u : "s";
}

enum number_status { NUMBER_OK, NUMBER_BAD, NUMBER_UNITLESS };

static enum number_status read_number(const struct unit *units, struct lt_span text, int64_t *v) {
    bool minus = text.n && text.p[0] == '-';
    size_t i = minus ? 1 : 0, first = i;
    int64_t n = 0;
    for (; i < text.n && isdigit((unsigned char)text.p[i]); i++) {
        if (n > INT64_MAX / 10 - 1)
            return NUMBER_BAD;
        n = n * 10 + (text.p[i] - '0');
    }
    if (i == first)
        return NUMBER_BAD;
    struct lt_span unit = lt_span(text.p + i, text.n - i);
    for (; units->name; units++) {
        if (!lt_span_eq_nocase(unit, lt_span_cstr(units->name)))
            continue;
        if (__builtin_mul_overflow(n, units->factor, v))
            return NUMBER_BAD;
        *v = minus ? -*v : *v;
        return NUMBER_OK;
    }
    return unit.n == 0 ? NUMBER_UNITLESS : NUMBER_BAD;
}

// --- messages ---

static const char *say(struct lt_arena *arena, const struct lt_option *o, struct lt_span text, const char *what,
                       const char *write) {
    struct lt_span s =
        o->secret ? lt_arena_printf(arena, "the value %s; %s", what, write)
                  : lt_arena_printf(arena, "\"%.*s\" %s; %s", (int)(text.n < 200 ? text.n : 200), text.p, what, write);
    return s.p ? s.p : "no memory";
}

struct lt_span lt_option_range(const struct lt_option *o, struct lt_arena *arena) {
    char low[NUMBER], high[NUMBER];
    if (o->type == LT_OPT_ENUM) {
        struct lt_span all = LT_S("");
        for (const char *const *c = o->choices; *c; c++)
            all = lt_arena_printf(arena, "%.*s%s%s%s%s", (int)all.n, all.p, all.n ? ", " : "", **c ? "" : "\"", *c,
                                  **c ? "" : "\"");
        return all;
    }
    if (o->type == LT_OPT_BOOL)
        return LT_S("true, false");
    if (o->min == 0 && o->max == 0)
        return LT_S("");
    return lt_arena_printf(arena, "%s to %s%s", format_number(units_of(o), o->min, low),
                           format_number(units_of(o), o->max, high), o->type == LT_OPT_LIST ? " entries" : "");
}

static const char *write_range(const struct lt_option *o, struct lt_arena *arena) {
    struct lt_span range = lt_option_range(o, arena);
    struct lt_span s = lt_arena_printf(arena, "write %.*s", (int)range.n, range.p);
    return s.p ? s.p : "";
}

// --- one value ---

static const char *read_quantity(const struct lt_option *o, struct lt_span text, int64_t *to, struct lt_arena *arena) {
    int64_t v;
    switch (read_number(units_of(o), text, &v)) {
    case NUMBER_UNITLESS: {
        struct lt_span s = lt_arena_printf(arena, "write \"%.*s%s\"", (int)text.n, text.p, likely_unit(o));
        return say(arena, o, text, "has no unit", s.p ? s.p : "");
    }
    case NUMBER_BAD:
        return say(arena, o, text,
                   o->type == LT_OPT_DURATION ? "is no duration"
                   : o->type == LT_OPT_SIZE   ? "is no size"
                                              : "is no number",
                   o->type == LT_OPT_DURATION ? "write a number and ms, s, m, h or d such as \"30s\""
                   : o->type == LT_OPT_SIZE   ? "write a number and k, m or g such as \"32k\""
                                              : write_range(o, arena));
    default:
        break;
    }
    if ((o->min || o->max) && (v < o->min || v > o->max))
        return say(arena, o, text, "is out of range", write_range(o, arena));
    *to = v;
    return NULL;
}

static const char *read_bool(const struct lt_option *o, struct lt_span text, bool *to, struct lt_arena *arena) {
    static const char *const words[] = {"false", "no", "off", "0", "true", "yes", "on", "1"};
    for (unsigned i = 0; i < 8; i++)
        if (lt_span_eq_nocase(text, lt_span_cstr(words[i]))) {
            *to = i >= 4;
            return NULL;
        }
    return say(arena, o, text, "is neither", "write true or false");
}

static const char *read_enum(const struct lt_option *o, struct lt_span text, int *to, struct lt_arena *arena) {
    for (int i = 0; o->choices[i]; i++)
        if (lt_span_eq_nocase(text, lt_span_cstr(o->choices[i]))) {
            *to = i;
            return NULL;
        }
    return say(arena, o, text, "is none of the choices", write_range(o, arena));
}

static const char *read_text(const struct lt_option *o, struct lt_span text, struct lt_span *to, struct lt_arena *arena) {
    for (size_t i = 0; i < text.n; i++)
        if ((unsigned char)text.p[i] < ' ' && !(o->secret && strchr("\t\r\n", text.p[i]) && text.p[i]))
            return say(arena, o, LT_S("…"), "holds a control character", "write plain text");
    bool unset = text.n == 0 && *o->fallback == '\0'; // empty is how one writes "none"
    const char *wrong = o->check && !unset ? o->check(text) : NULL;
    if (wrong)
        return say(arena, o, text, "cannot be used", wrong);
    *to = lt_arena_dup(arena, text);
    return to->p ? NULL : "no memory";
}

const char *lt_option_read_list(const struct lt_option *o, const struct lt_span *entries, unsigned n, void *group,
                                struct lt_arena *arena) {
    struct lt_option_list *to = (struct lt_option_list *)(void *)((char *)group + o->offset);
    struct lt_option_list fresh = {.v = lt_arena_alloc(arena, (n + 1) * sizeof *fresh.v), .n = n};
    char count[NUMBER];
    if (!fresh.v)
        return "no memory";
    if ((o->min || o->max) && (n < (uint64_t)o->min || n > (uint64_t)o->max)) {
        snprintf(count, sizeof count, "%u entries", n);
        return say(arena, o, lt_span_cstr(count), "are out of range", write_range(o, arena));
    }
    for (unsigned i = 0; i < n; i++) {
        const char *wrong = read_text(o, entries[i], &fresh.v[i], arena);
        if (wrong)
            return wrong;
    }
    lt_pattern_list_prepare(&fresh);
    *to = fresh;
    return NULL;
}

static const char *read_list(const struct lt_option *o, struct lt_span text, void *group, struct lt_arena *arena) {
    struct lt_span entries[ENTRIES_MAX];
    unsigned n = 0;
    while (lt_span_next(&text, &entries[n]))
        if (++n == ENTRIES_MAX)
            return say(arena, o, LT_S("…"), "is too long", write_range(o, arena));
    return lt_option_read_list(o, entries, n, group, arena);
}

const char *lt_option_read(const struct lt_option *o, struct lt_span text, void *group, struct lt_arena *arena) {
    void *to = (char *)group + o->offset;
    if (o->type != LT_OPT_STRING)
        text = lt_span_trim(text);
    switch (o->type) {
    case LT_OPT_STRING:
        return read_text(o, text, to, arena);
    case LT_OPT_BOOL:
        return read_bool(o, text, to, arena);
    case LT_OPT_ENUM:
        return read_enum(o, text, to, arena);
    case LT_OPT_LIST:
        return read_list(o, text, group, arena);
    default:
        return read_quantity(o, text, to, arena);
    }
}

// --- back to text ---

static struct lt_span quoted(struct lt_arena *arena, struct lt_span text) {
    char *out = lt_arena_alloc(arena, 2 * text.n + 3);
    size_t n = 0;
    if (!out)
        return lt_span(NULL, 0);
    out[n++] = '"';
    for (size_t i = 0; i < text.n; i++) {
        if (text.p[i] == '"' || text.p[i] == '\\')
            out[n++] = '\\';
        out[n++] = text.p[i];
    }
    out[n++] = '"';
    return lt_span(out, n);
}

static struct lt_span format_list(const struct lt_option_list *list, struct lt_arena *arena) {
    struct lt_span all = LT_S("[");
    for (unsigned i = 0; i < list->n && all.p; i++) {
        struct lt_span one = quoted(arena, list->v[i]);
        all = lt_arena_printf(arena, "%.*s%s%.*s", (int)all.n, all.p, i ? ", " : "", (int)one.n, one.p ? one.p : "");
    }
    return all.p ? lt_arena_printf(arena, "%.*s]", (int)all.n, all.p) : all;
}

struct lt_span lt_option_format(const struct lt_option *o, const void *group, struct lt_arena *arena) {
    const void *at = (const char *)group + o->offset;
    char number[NUMBER];
    switch (o->type) {
    case LT_OPT_STRING:
        return quoted(arena, *(const struct lt_span *)at);
    case LT_OPT_BOOL:
        return *(const bool *)at ? LT_S("true") : LT_S("false");
    case LT_OPT_ENUM:
        return quoted(arena, lt_span_cstr(o->choices[*(const int *)at]));
    case LT_OPT_LIST:
        return format_list(at, arena);
    case LT_OPT_INT:
        return lt_arena_printf(arena, "%" PRId64, *(const int64_t *)at);
    default:
        return quoted(arena, lt_span_cstr(format_number(units_of(o), *(const int64_t *)at, number)));
    }
}
