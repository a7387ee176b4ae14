// SPDX-License-Identifier: Apache-2.0
#include "net/pipe.h"

#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

enum { KEEP = 8, PIPE_SIZE = 256 << 10 };

static void close_pipe(struct lt_pipe *p) {
    close(p->in);
    close(p->out);
    free(p);
}

struct lt_pipe *lt_pipe_take(struct lt_loop *l) {
    struct lt_pipe *p = l->pipes;
    int ends[2];
    if (p) {
        l->pipes = p->next;
        l->n_pipes--;
        return p;
    }
    p = malloc(sizeof *p);
    if (!p || pipe2(ends, O_NONBLOCK | O_CLOEXEC) != 0) {
        free(p);
        return NULL;
    }
    *p = (struct lt_pipe){.in = ends[1], .out = ends[0]};
    (void)fcntl(p->in, F_SETPIPE_SZ, PIPE_SIZE); // refused where a user has many: then it is smaller
    return p;
}

void lt_pipe_give(struct lt_loop *l, struct lt_pipe *p) {
    if (p->held || l->n_pipes == KEEP) {
        close_pipe(p);
        return;
    }
    p->next = l->pipes;
    l->pipes = p;
    l->n_pipes++;
}

void lt_pipe_close_kept(struct lt_loop *l) {
    for (struct lt_pipe *p = l->pipes, *next; p; p = next) {
        next = p->next;
        close_pipe(p);
    }
    l->pipes = NULL;
    l->n_pipes = 0;
}
