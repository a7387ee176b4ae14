// SPDX-License-Identifier: Apache-2.0
// The admin page: page.html, compiled in.
#pragma once

#include "base/span.h"

struct lt_span lt_page(void);

// Its Content-Security-Policy: nothing from elsewhere, and of what stands inline only the page's own script and style, by their hashes.
// From one thread. Empty: the hashes could not be made.
struct lt_span lt_page_policy(void);
