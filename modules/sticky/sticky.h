// SPDX-License-Identifier: Apache-2.0
// Takes what ties a client to one replica out of the traffic. See sticky.md.
#pragma once

#include "module.h"

extern const struct lt_module lt_module_sticky;
