// SPDX-License-Identifier: Apache-2.0
// The application's process: the one that listens at the upstream's address in this network namespace.
#pragma once

#include "base/span.h"

// `upstream`: the option's text ("127.0.0.1:3000", "unix:/path"). 0: nobody, or /proc does not show it to us. Reads all of /proc: rarely.
int audit_find_app(struct lt_span upstream);
