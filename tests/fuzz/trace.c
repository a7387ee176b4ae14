// SPDX-License-Identifier: Apache-2.0
// A traceparent from a peer: what is taken for an id is 32 lower-case hex digits that stand in the value, and not all zeros.
#include "http/trace.h"
#include "tests/fuzz/check.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct lt_span in = lt_span((const char *)data, size);
    char id[LT_TRACE_ID + 1] = "";
    if (!lt_trace_id(in, id)) {
        CHECK(!*id);
        return 0;
    }
    CHECK(strlen(id) == LT_TRACE_ID && strspn(id, "0123456789abcdef") == LT_TRACE_ID && strspn(id, "0") < LT_TRACE_ID);
    CHECK(memcmp(in.p + 3, id, LT_TRACE_ID) == 0);
    return 0;
}
