// SPDX-License-Identifier: Apache-2.0
// Sessions that an application keeps in memory, kept for it: adapters in its runtime read and write them here. See state_api.md and
// openapi.yaml.
#pragma once

#include "module.h"

extern const struct lt_module lt_module_state_api;
