// SPDX-License-Identifier: Apache-2.0
// One line an event, `key=value` or JSON. Events go to stderr, the access log to stdout.
// Never a token, a cookie's value or a body.
#pragma once

#include "base/span.h"

#include <stdint.h>

enum lt_log_level { LT_LOG_ERROR, LT_LOG_WARN, LT_LOG_INFO, LT_LOG_DEBUG };
enum lt_log_format { LT_LOG_TEXT, LT_LOG_JSON };

struct lt_field {
    const char *key;
    bool is_number;
    int64_t number;
    struct lt_span text;
};

static inline struct lt_field lt_f(const char *key, struct lt_span text) {
    return (struct lt_field){.key = key, .text = text};
}
static inline struct lt_field lt_fs(const char *key, const char *text) {
    return lt_f(key, lt_span_cstr(text));
}
static inline struct lt_field lt_fn(const char *key, int64_t number) {
    return (struct lt_field){.key = key, .is_number = true, .number = number};
}

// For the whole process, at start and at reload, from one thread.
void lt_log_setup(enum lt_log_level level, enum lt_log_format format);

bool lt_log_wants(enum lt_log_level level);

// Any thread: keeps an error or a warning for lt_log_recent(), and if it is wanted writes one line (at most 4 KB, longer ones are cut) with one write(2) to stderr. A text value
// is quoted when it holds anything but plain characters; control bytes are escaped.
void lt_log_event(enum lt_log_level level, const char *event, const struct lt_field *fields, size_t n);

// --- what went wrong lately, for the admin page ---

enum { LT_LOG_ROWS = 64 };

// An error or a warning, and how often it came since it was last told apart from others. Only what cannot hold a secret is kept: the
// event's name, what lethe says about it (the fields "why" and "do") and the request's id; no other field.
struct lt_log_row {
    int64_t time; // of the last one, ms since 1970
    enum lt_log_level level;
    uint64_t count;
    char event[40], why[160], advice[200], id[64];
};

// What no event tells: a request that failed. Any thread.
void lt_log_note(const char *event, const char *why, struct lt_span id);

// Copies the rows, newest first; returns how many.
unsigned lt_log_recent(struct lt_log_row rows[LT_LOG_ROWS]);

// LT_LOG(LT_LOG_INFO, "listening", lt_fs("address", text), lt_fn("backlog", 511));
#define LT_LOG(level, event, ...)                                                                                      \
    do {                                                                                                               \
        if ((level) <= LT_LOG_WARN || lt_log_wants(level)) {                                                           \
            const struct lt_field lt_fields_[] = {__VA_ARGS__};                                                        \
            lt_log_event(level, event, lt_fields_, sizeof lt_fields_ / sizeof *lt_fields_);                            \
        }                                                                                                              \
    } while (0)

// Formats a line as lt_log_event() would, with the newline, into `out` (a cut line still ends with one).
// Returns its length. For the access log, which collects lines a worker and writes them once a loop turn.
size_t lt_log_line(char *out, size_t size, enum lt_log_level level, const char *event, const struct lt_field *fields,
                   size_t n);
