// SPDX-License-Identifier: Apache-2.0
// Sessions: the client holds a token, the store holds the record, the application gets its cookies back. See session.md.
#pragma once

#include "module.h"

extern const struct lt_module lt_module_session;
