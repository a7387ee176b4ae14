// SPDX-License-Identifier: Apache-2.0
// Answers probes from the process's own condition. See health.md.
#pragma once

#include "module.h"

extern const struct lt_module lt_module_health;
