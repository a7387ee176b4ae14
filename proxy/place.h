// SPDX-License-Identifier: Apache-2.0
// Where the process listens: opens addresses for the workers, or goes on with sockets that were passed to it.
#pragma once

#include "worker.h"

// What of a listener is the same for all its sockets.
struct lt_place {
    const char *option; // "listen", "admin", or a module's name
    struct lt_span address;
    unsigned mode;
    struct lt_worker *workers;
    unsigned n;
    bool proxy_header, tls;
    const char *event;
};

// One socket a worker, or those that were inherited for this option and address. False: the reason was printed.
bool lt_place_open(const struct lt_place *p);

// At the end: unlinks the unix sockets.
void lt_places_remove(void);

// Does the new configuration name other addresses? Listeners are opened at the start: a reload leaves them as they are.
bool lt_places_moved(const struct lt_snapshot *old, const struct lt_snapshot *s);
