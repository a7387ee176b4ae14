// SPDX-License-Identifier: Apache-2.0
// A peer's bytes come in any pieces: whatever is read whole is also read one byte at a time and cut at every point, and what
// comes out must be the same text.
#pragma once

#include "base/buf.h"

#include <criterion/criterion.h>
#include <stdio.h>

#define COUNT(a) (sizeof(a) / sizeof *(a))

// Reads `text` in a first piece of `first` bytes and further ones of `step`, and appends to `out` what came of it.
typedef void split_reader(struct lt_buf *out, struct lt_span text, size_t first, size_t step, const void *context);

static inline void split_compare(struct lt_span got, const char *want, struct lt_span text, size_t first, size_t step) {
    cr_assert(lt_span_eq(got, lt_span_cstr(want)), "input (first piece %zu, then %zu):\n%.*s\ngot:\n%.*s\nwanted:\n%s",
              first, step, (int)text.n, text.p, (int)got.n, got.p ? got.p : "", want);
}

static inline void split_check(split_reader *read, struct lt_span text, const char *want, const void *context) {
    struct lt_buf out;
    lt_buf_init(&out, 1 << 20);
    for (size_t first = 0; first <= text.n; first++) {
        read(&out, text, first, text.n, context);
        split_compare(lt_buf_span(&out), want, text, first, text.n);
        lt_buf_consume(&out, out.len);
    }
    read(&out, text, 1, 1, context);
    split_compare(lt_buf_span(&out), want, text, 1, 1);
    lt_buf_fini(&out);
}
