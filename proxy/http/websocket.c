// SPDX-License-Identifier: Apache-2.0
#include "http/websocket.h"

#include <string.h>

enum { OPCODE = 0x0f, OPCODE_CLOSE = 8, FIN = 0x80, MASKED = 0x80, LENGTH = 0x7f, GOING_AWAY = 1001 };

// How long the header is, as far as its first two bytes tell.
static unsigned head_size(const struct lt_ws_frames *f) {
    if (f->n < 2)
        return 2;
    unsigned length = f->head[1] & LENGTH, mask = f->head[1] & MASKED ? 4 : 0;
    return 2 + mask + (length == 127 ? 8 : length == 126 ? 2 : 0);
}

static void head_done(struct lt_ws_frames *f) {
    unsigned length = f->head[1] & LENGTH, extra = length == 127 ? 8 : length == 126 ? 2 : 0;
    f->left = extra ? 0 : length;
    for (unsigned i = 0; i < extra; i++)
        f->left = f->left << 8 | f->head[2 + i];
    f->lost = f->left >> 63;
    f->closed = f->closed || (f->head[0] & OPCODE) == OPCODE_CLOSE;
    f->n = 0;
}

size_t lt_ws_pass(struct lt_ws_frames *f, struct lt_span data, bool one) {
    size_t all = data.n;
    while (data.n && !f->lost) {
        size_t step = 1;
        if (f->left) {
            step = f->left < data.n ? (size_t)f->left : data.n;
            f->left -= step;
        } else {
            f->head[f->n++] = (unsigned char)data.p[0];
            if (f->n == head_size(f))
                head_done(f);
        }
        data = lt_span(data.p + step, data.n - step);
        if (one && lt_ws_is_between(f))
            return all - data.n;
    }
    return all;
}

bool lt_ws_is_between(const struct lt_ws_frames *f) {
    return !f->lost && !f->left && !f->n;
}

size_t lt_ws_going_away(unsigned char out[LT_WS_GOING_AWAY_MAX], const unsigned char mask[4]) {
    const unsigned char code[2] = {GOING_AWAY >> 8, GOING_AWAY & 0xff};
    out[0] = FIN | OPCODE_CLOSE;
    out[1] = sizeof code | (mask ? MASKED : 0);
    size_t n = 2;
    if (mask) {
        memcpy(out + n, mask, 4);
        n += 4;
    }
    for (unsigned i = 0; i < sizeof code; i++)
        out[n++] = code[i] ^ (mask ? mask[i] : 0);
    return n;
}
