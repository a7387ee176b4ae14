// SPDX-License-Identifier: Apache-2.0
// The admin listener is an ordinary worker with a thread of its own; this module answers /metrics there.
#pragma once

#include "module.h"

extern const struct lt_module lt_module_admin;
