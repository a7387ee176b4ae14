// SPDX-License-Identifier: Apache-2.0
// Carries sessions that an application keeps in files to whichever replica serves. See files.md.
#pragma once

#include "module.h"

extern const struct lt_module lt_module_files;
