// SPDX-License-Identifier: Apache-2.0
// What a memcached says: answers lie within the input, and come out the same however it is cut into pieces.
#include "net/memcached.h"
#include "tests/fuzz/check.h"

enum { VALUE_MAX = 4096 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct lt_span in = lt_span((const char *)data, size);
    struct lt_memcached_answer a, again;
    size_t used, part;
    while (lt_memcached_parse(in, VALUE_MAX, &a, &used) == LT_OK && used) {
        CHECK(used <= in.n && is_inside(a.line, lt_span(in.p, used)) && is_inside(a.data, lt_span(in.p, used)));
        CHECK(a.data.n <= VALUE_MAX && a.left >= -1);
        CHECK(lt_memcached_parse(lt_span(in.p, used), VALUE_MAX, &again, &part) == LT_OK && part == used);
        CHECK(lt_memcached_parse(lt_span(in.p, used - 1), VALUE_MAX, &again, &part) == LT_OK && part == 0);
        in = lt_span(in.p + used, in.n - used);
    }
    return 0;
}
