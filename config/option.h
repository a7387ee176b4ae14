// SPDX-License-Identifier: Apache-2.0
// The option schema: one row gives an option's name, type, default, range, unit, documentation, and from the name its place in the
// file, its environment variable and its flag. Loader, printer, reference and man page read these rows and nothing else.
#pragma once

#include "base/arena.h"

#include <stdint.h>

enum lt_option_type {
    LT_OPT_STRING,   // struct lt_span (NUL-terminated text in the configuration's arena)
    LT_OPT_BOOL,     // bool:     true false yes no on off 1 0
    LT_OPT_INT,      // int64_t
    LT_OPT_DURATION, // int64_t milliseconds: "500ms" "30s" "5m" "12h" "7d"; a number without a unit is an error
    LT_OPT_SIZE,     // int64_t bytes: "512" "32k" "4m" "1g" (powers of 1024)
    LT_OPT_ENUM,     // int: index into `choices`
    LT_OPT_LIST,     // struct lt_option_list: file: ["a", "b"] or "a, b"; environment and flag: "a,b"
};

struct lt_option_list {
    struct lt_span *v; // NUL-terminated texts
    unsigned n;
    uint64_t absent[4]; // see config/pattern.h
};

struct lt_diag;

struct lt_option {
    const char *name; // "idle_ttl" within its group, "session.idle_ttl" in full: see lt_option_group
    enum lt_option_type type;
    size_t offset;              // of the value in the group's structure
    const char *fallback;       // the default, as one would write it in a flag ("30m"); "" for none
    int64_t min, max;           // INT, DURATION (ms), SIZE; LIST: number of entries; both 0: no range
    const char *const *choices; // ENUM, NULL-terminated
    const char *unit;      // shown in the reference: "duration", "bytes", "address", "path", …; NULL: from the type
    const char *doc;       // one or more sentences of Markdown
    bool required, secret; // secret: never printed
    // Further check of one value's text, or NULL: returns NULL, or what to write instead ("write \"host:port\"").
    const char *(*check)(struct lt_span text);
};

// The options of one part of the program: prefix "" for the top level, "session" for session.*. The structure of `size` bytes
// is filled by the loader at `offset` field by field.
struct lt_option_group {
    const char *prefix;
    const struct lt_option *options;
    unsigned n;
    size_t size;
    // Rules across options, called once all groups are loaded; adds its findings to `diag`. NULL: none.
    bool (*check)(const void *values, struct lt_diag *diag);
};

// Where a value came from.
enum lt_origin { LT_ORIGIN_DEFAULT, LT_ORIGIN_FILE, LT_ORIGIN_ENVIRONMENT, LT_ORIGIN_FLAG };

// Collects findings; all of them are reported, not only the first.
struct lt_diag {
    struct lt_arena *arena;
    struct lt_finding {
        struct lt_finding *next;
        struct lt_span text; // `lethe.conf:35: session.idle_ttl: "30" has no unit; write "30m"`
    } * first, **last;
    unsigned n;
};

void lt_diag_init(struct lt_diag *d, struct lt_arena *arena);
void lt_diag_add(struct lt_diag *d, const char *format, ...) __attribute__((format(printf, 2, 3)));
