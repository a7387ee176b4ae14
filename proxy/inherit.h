// SPDX-License-Identifier: Apache-2.0
// Listening sockets that this process was started with, as sd_listen_fds(3) describes them: LISTEN_FDS, LISTEN_FDNAMES, LISTEN_PID. They
// come from a service manager (socket activation), or from the lethe that this one replaces (upgrade.c). Only the main thread calls it.
#pragma once

#include "net/address.h"

// What an upgrade names its sockets: "upgrade." and the option. A service manager names them as the unit says.
#define LT_INHERIT_OWN "upgrade."

struct lt_inherited {
    int fd;
    const char *name; // as it was given; lives as long as the process
    bool own;         // from another lethe: a unix socket's file is ours to remove
    bool claimed;
};

// Looks at the environment and takes the variables out of it. False: no memory.
bool lt_inherit_init(void);

// The next unclaimed socket for the option `name` ("listen", "admin", a module's) whose address is `at` (port 0: any port). One that a
// service manager has given the option's name is taken whatever its address is. NULL: no more.
const struct lt_inherited *lt_inherit_next(const struct lt_address *at, const char *name);

// Every listener accepts. Closes what nobody has claimed, and tells the lethe that started this one, if one did.
void lt_inherit_done(void);
void lt_inherit_fini(void);
