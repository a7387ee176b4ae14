// SPDX-License-Identifier: Apache-2.0
// The list of all modules: a new one is added in modules.c and in CMakeLists.txt, and nowhere else.
#pragma once

#include "module.h"

// NULL-terminated, sorted by phase.
extern const struct lt_module *const lt_modules[];
