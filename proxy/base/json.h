// SPDX-License-Identifier: Apache-2.0
// The one part of writing JSON that can go wrong: a text between quotes.
#pragma once

#include "base/buf.h"

// Appends `s` as a JSON string. Bytes beyond ASCII are escaped one by one: what a peer sent need not be UTF-8, and "<" as well, so that
// it means nothing to HTML. False: `out` is full.
bool lt_json_text(struct lt_buf *out, struct lt_span s) __attribute__((warn_unused_result));
