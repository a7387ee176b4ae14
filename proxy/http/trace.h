// SPDX-License-Identifier: Apache-2.0
// W3C Trace Context: the id of a trace, for the log. The field itself passes unchanged, as does tracestate.
#pragma once

#include "base/span.h"

enum { LT_TRACE_ID = 32 };

// Copies the trace-id of a `traceparent` value into `id` and ends it with a NUL. False, and `id` untouched: not of the W3C syntax
// (Trace Context section 3.2.2), or an id of zeros, which is none.
bool lt_trace_id(struct lt_span value, char id[LT_TRACE_ID + 1]);
