// SPDX-License-Identifier: Apache-2.0
// Where the application may write: the option audit.allow.
#pragma once

#include "config/option.h"

// "/dir" allows the directory and all below it; with *, ? or [ it is a pattern, whose * goes across slashes.
bool audit_allowed(const struct lt_option_list *allow, const char *path);

// Is all that could ever be written below this directory allowed? Then nobody needs to look there.
bool audit_allowed_below(const struct lt_option_list *allow, const char *dir);

// Of one entry: NULL, or what to write instead.
const char *audit_check_allow(struct lt_span entry);
