// SPDX-License-Identifier: Apache-2.0
// What a module says to the doctor.
#include "module.h"

#include <stdarg.h>
#include <stdio.h>

uint64_t lt_exam_total(const struct lt_exam *e, unsigned row) {
    return lt_metrics_total(e->all, e->n_all, row);
}

__attribute__((format(printf, 3, 0))) static void say(struct lt_exam *e, const char *mark, const char *format,
                                                      va_list args) {
    char text[512];
    vsnprintf(text, sizeof text, format, args);
    if (!lt_buf_printf(e->out, "%s%s\n", mark, text))
        e->full = true;
}

void lt_exam_note(struct lt_exam *e, const char *format, ...) {
    va_list args;
    va_start(args, format);
    say(e, "   ", format, args);
    va_end(args);
}

void lt_exam_finding(struct lt_exam *e, const char *remedy, const char *format, ...) {
    va_list args;
    va_start(args, format);
    say(e, " ! ", format, args);
    va_end(args);
    e->findings++;
    if (!lt_buf_printf(e->out, "   -> %s\n", remedy))
        e->full = true;
}
