// SPDX-License-Identifier: Apache-2.0
// Pipes through which bodies go from socket to socket without being copied (splice(2)); a loop keeps a few for the next body.
#pragma once

#include "net/loop.h"

struct lt_pipe {
    struct lt_pipe *next; // while it is kept
    int in, out;
    size_t held; // bytes in it
};

// NULL: none to be had; the body is then read and written.
struct lt_pipe *lt_pipe_take(struct lt_loop *l) __attribute__((warn_unused_result));
// One that still holds bytes is closed with them.
void lt_pipe_give(struct lt_loop *l, struct lt_pipe *p);
// Now and then, and at the end of the loop.
void lt_pipe_close_kept(struct lt_loop *l);
