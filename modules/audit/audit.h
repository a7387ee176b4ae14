// SPDX-License-Identifier: Apache-2.0
// Looks for state outside the sessions. See audit.md.
#pragma once

#include "module.h"

extern const struct lt_module lt_module_audit;
// Turns findings into failures: nearest to the client, so that nothing is asked for a request that fails.
extern const struct lt_module lt_module_enforce;
