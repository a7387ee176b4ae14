// SPDX-License-Identifier: Apache-2.0
#include "base/arena.h"

#include "base/sanitizer.h"

#include <stdarg.h>
#include <stdalign.h>
#include <stdio.h>
#include <stdlib.h>

enum { CHUNK = 4096 - 64 }; // with malloc's own header within a page

struct lt_arena_chunk {
    struct lt_arena_chunk *next;
    size_t used, size;
    alignas(max_align_t) char data[];
};

void lt_arena_init(struct lt_arena *a, size_t max) {
    *a = (struct lt_arena){.max = max};
}

void lt_arena_lend(struct lt_arena *a, void *room, size_t size) {
    struct lt_arena_chunk *c = room;
    *c = (struct lt_arena_chunk){.size = size - sizeof *c};
    if (!LT_ASAN)
        a->chunks = a->lent = c;
}

void lt_arena_fini(struct lt_arena *a) {
    for (struct lt_arena_chunk *c = a->chunks, *next; c; c = next) {
        next = c->next;
        if (c != a->lent)
            free(c);
    }
    a->chunks = a->lent = NULL;
    a->used = 0;
}

void *lt_arena_alloc(struct lt_arena *a, size_t n) {
    const size_t align = alignof(max_align_t);
    if (n > a->max - a->used)
        return NULL;
    size_t room = LT_ASAN ? n : (n + align - 1) / align * align;
    struct lt_arena_chunk *c = a->chunks;
    if (LT_ASAN || !c || c->size - c->used < room) {
        size_t size = !LT_ASAN && room < CHUNK ? CHUNK : room;
        c = malloc(sizeof *c + size);
        if (!c)
            return NULL;
        *c = (struct lt_arena_chunk){.next = a->chunks, .size = size};
        a->chunks = c;
    }
    void *piece = c->data + c->used;
    c->used += room;
    a->used += n;
    return piece;
}

void *lt_arena_zalloc(struct lt_arena *a, size_t n) {
    void *piece = lt_arena_alloc(a, n);
    return piece ? memset(piece, 0, n) : NULL;
}

struct lt_span lt_arena_dup(struct lt_arena *a, struct lt_span s) {
    char *copy = lt_arena_alloc(a, s.n + 1);
    if (!copy)
        return lt_span(NULL, 0);
    if (s.n)
        memcpy(copy, s.p, s.n);
    copy[s.n] = '\0';
    return lt_span(copy, s.n);
}

struct lt_span lt_arena_join(struct lt_arena *a, const struct lt_span *pieces, size_t n) {
    size_t total = 0;
    for (size_t i = 0; i < n; i++)
        total += pieces[i].n;
    char *text = lt_arena_alloc(a, total + 1), *to = text;
    if (!text)
        return lt_span(NULL, 0);
    for (size_t i = 0; i < n; i++) {
        if (pieces[i].n)
            memcpy(to, pieces[i].p, pieces[i].n);
        to += pieces[i].n;
    }
    *to = '\0';
    return lt_span(text, total);
}

struct lt_span lt_arena_printf(struct lt_arena *a, const char *format, ...) {
    va_list args, again;
    va_start(args, format);
    va_copy(again, args);
    int n = vsnprintf(NULL, 0, format, args);
    va_end(args);
    char *text = n < 0 ? NULL : lt_arena_alloc(a, (size_t)n + 1);
    if (text)
        vsnprintf(text, (size_t)n + 1, format, again);
    va_end(again);
    return text ? lt_span(text, (size_t)n) : lt_span(NULL, 0);
}
