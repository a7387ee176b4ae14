// SPDX-License-Identifier: Apache-2.0
// Listening sockets. On TCP each worker has one of its own (SO_REUSEPORT), so the kernel spreads the connections; a unix
// socket is shared.
#pragma once

#include "worker.h"

// Opens `text` for `n` workers: fds[i] is worker i's. False: `error` is one line that says what to do; nothing stays open.
bool lt_listen(struct lt_span text, unsigned mode, unsigned n, int *fds, struct lt_address *bound, char *error,
               size_t size);

// The worker accepts on `fd` from now on (before its thread starts). `tls`: its clients speak TLS. False: no memory; fd is closed.
bool lt_listener_add(struct lt_worker *w, int fd, bool proxy_header, bool tls);

// Takes what stands in the queue, then closes all listeners of the worker.
void lt_listener_close_all(struct lt_worker *w, bool accept_queued);
