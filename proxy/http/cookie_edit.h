// SPDX-License-Identifier: Apache-2.0
// Takes cookies out of a request and leaves every other byte as it was.
#pragma once

#include "http/cookie.h"
#include "http/headers.h"

// Called once for each cookie, in order. False: it is taken out.
typedef bool lt_cookie_keep_fn(const struct lt_cookie *c, void *user);

// Goes through all Cookie fields. Kept cookies stay byte for byte, each with the separator that stood before it; a field that is
// left empty is dropped; one from which nothing is taken is not touched. False: no memory.
bool lt_cookies_filter(struct lt_headers *h, struct lt_arena *arena, lt_cookie_keep_fn *keep, void *user);
