// SPDX-License-Identifier: Apache-2.0
// Sessions: the client holds a token, the store holds the record, the application gets its cookies back. See session.md.
#pragma once

#include "module.h"

// `lt_module_jwt` has the options jwt.*, and prints public keys on the admin listener.
extern const struct lt_module lt_module_session, lt_module_jwt;
