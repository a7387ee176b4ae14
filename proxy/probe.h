// SPDX-License-Identifier: Apache-2.0
// `lethe probe`: the health check of a container that has neither a shell nor curl.
#pragma once

#include "base/span.h"

// Asks the admin listener at `address` for `name` ("livez", "readyz" or "startupz"), prints one line, and is done within two seconds.
// Returns the exit code: 0 healthy, 1 not, or nobody answers there. Never 2: Docker reserves it for health checks.
int lt_probe_ask(struct lt_span address, const char *name);
