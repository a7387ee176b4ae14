// SPDX-License-Identifier: Apache-2.0
// The admin listener is an ordinary worker with a thread of its own; this module answers there: the page, its data, the metrics.
#pragma once

#include "module.h"

extern const struct lt_module lt_module_admin;
