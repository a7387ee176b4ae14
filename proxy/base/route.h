// SPDX-License-Identifier: Apache-2.0
// What a request is counted under: by route, not by path, so that tables and metrics stay small.
#pragma once

#include "base/span.h"

enum { LT_ROUTE = 48 };

// "/cart" of "/cart/add?x=1"; a file at the top stands for itself, "other" for what holds anything but plain characters. Fit for a
// metric's label as it is.
void lt_route(struct lt_span path, char out[LT_ROUTE]);
