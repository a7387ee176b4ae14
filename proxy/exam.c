// SPDX-License-Identifier: Apache-2.0
#include "exam.h"

#include <stdarg.h>
#include <stdio.h>

enum { TEXT_MAX = 512 };

void lt_exam_init(struct lt_exam *e, struct lt_arena *arena) {
    *e = (struct lt_exam){.arena = arena};
    e->end = &e->first;
}

uint64_t lt_exam_total(const struct lt_exam *e, unsigned row) {
    return lt_metrics_total(e->all, e->n_all, row);
}

// A C string of its own; NULL stays NULL.
static const char *keep(struct lt_exam *e, const char *text) {
    if (!text)
        return NULL;
    size_t n = strlen(text) + 1;
    char *copy = lt_arena_alloc(e->arena, n);
    if (copy)
        memcpy(copy, text, n);
    else
        e->full = true;
    return copy;
}

// The next entry; NULL: no memory.
static struct lt_exam_entry *add(struct lt_exam *e, enum lt_exam_kind kind) {
    struct lt_exam_entry *entry = lt_arena_zalloc(e->arena, sizeof *entry);
    if (!entry) {
        e->full = true;
        return NULL;
    }
    entry->kind = kind;
    entry->module = e->module;
    *e->end = entry;
    e->end = &entry->next;
    return entry;
}

__attribute__((format(printf, 3, 0))) static struct lt_exam_entry *say(struct lt_exam *e, enum lt_exam_kind kind,
                                                                       const char *format, va_list args) {
    char text[TEXT_MAX];
    vsnprintf(text, sizeof text, format, args);
    struct lt_exam_entry *entry = add(e, kind);
    if (entry)
        entry->text = keep(e, text);
    return entry;
}

void lt_exam_header(struct lt_exam *e, const char *text) {
    struct lt_exam_entry *entry = add(e, LT_EXAM_MODULE);
    if (entry)
        entry->text = text;
}

void lt_exam_note(struct lt_exam *e, const char *format, ...) {
    va_list args;
    va_start(args, format);
    say(e, LT_EXAM_NOTE, format, args);
    va_end(args);
}

static void find(struct lt_exam *e, struct lt_exam_entry *entry, const struct lt_found *what) {
    e->findings++;
    if (!entry)
        return;
    entry->found = *what;
    entry->found.remedy = keep(e, what->remedy);
    entry->found.route = keep(e, what->route);
    entry->found.example = keep(e, what->example);
}

void lt_exam_found(struct lt_exam *e, const struct lt_found *what, const char *format, ...) {
    va_list args;
    va_start(args, format);
    find(e, say(e, LT_EXAM_FINDING, format, args), what);
    va_end(args);
}

void lt_exam_finding(struct lt_exam *e, const char *remedy, const char *format, ...) {
    va_list args;
    va_start(args, format);
    find(e, say(e, LT_EXAM_FINDING, format, args), &(struct lt_found){.remedy = remedy});
    va_end(args);
}

void lt_exam_kept(struct lt_exam *e, enum lt_requirement r, const char *format, ...) {
    va_list args;
    va_start(args, format);
    struct lt_exam_entry *entry = say(e, LT_EXAM_KEPT, format, args);
    va_end(args);
    if (entry)
        entry->found.breaks = r;
}

void lt_exam_unsure(struct lt_exam *e, enum lt_requirement r, const char *remedy, const char *format, ...) {
    va_list args;
    va_start(args, format);
    struct lt_exam_entry *entry = say(e, LT_EXAM_UNSURE, format, args);
    va_end(args);
    if (entry) {
        entry->found.breaks = r;
        entry->found.remedy = keep(e, remedy);
    }
}

static struct lt_exam_entry *figure(struct lt_exam *e, enum lt_exam_kind kind, const char *group, const char *name) {
    struct lt_exam_entry *entry = add(e, kind);
    if (entry) {
        entry->group = group;
        entry->name = keep(e, name);
    }
    return entry;
}

void lt_exam_number(struct lt_exam *e, const char *group, const char *name, uint64_t value) {
    struct lt_exam_entry *entry = figure(e, LT_EXAM_NUMBER, group, name);
    if (entry)
        entry->value = value;
}

void lt_exam_text(struct lt_exam *e, const char *group, const char *name, const char *text) {
    struct lt_exam_entry *entry = figure(e, LT_EXAM_TEXT, group, name);
    if (entry)
        entry->text = keep(e, text);
}

void lt_exam_times(struct lt_exam *e, const char *group, const char *name, unsigned histogram_row) {
    struct lt_exam_entry *entry = figure(e, LT_EXAM_TIMES, group, name);
    uint64_t *slots = lt_arena_alloc(e->arena, LT_HISTOGRAM_SLOTS * sizeof *slots);
    if (!entry || !slots) {
        e->full = true;
        return;
    }
    lt_metrics_times(e->all, e->n_all, histogram_row, slots);
    entry->slots = slots;
}
