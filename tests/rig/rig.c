// SPDX-License-Identifier: Apache-2.0
// The worker's side of the rig: options, loop, clock, metrics, log. The exchange's side is in exchange.c.
#include "rig.h"

#include "base/clock.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

enum { LOG_MAX = 1 << 16 };

struct lt_process_view rig_process = {.workers = 1, .started = true};

void rig_die(const char *format, ...) {
    va_list args;
    fputs("rig: ", stderr);
    va_start(args, format);
    vfprintf(stderr, format, args);
    va_end(args);
    fputc('\n', stderr);
    abort();
}
