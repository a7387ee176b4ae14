// SPDX-License-Identifier: Apache-2.0
#include "base/json.h"

#include "tests/rig/leaks.h"

#include <criterion/criterion.h>

TestSuite(json, .fini = lt_rig_leaks);

static void expect(struct lt_span text, const char *wanted) {
    struct lt_buf out;
    lt_buf_init(&out, 256);
    cr_assert(lt_json_text(&out, text));
    cr_assert(lt_span_eq(lt_buf_span(&out), lt_span_cstr(wanted)), "got %.*s, wanted %s", (int)out.len,
              lt_buf_span(&out).p, wanted);
    lt_buf_fini(&out);
}

Test(json, text) {
    expect(LT_S(""), "\"\"");
    expect(LT_S("plain: a/b"), "\"plain: a/b\"");
    expect(LT_S("q\"\\q"), "\"q\\\"\\\\q\"");
    expect(LT_S("\r\n\0"), "\"\\u000d\\u000a\\u0000\"");
    expect(LT_S("\177\303\251"), "\"\\u007f\\u00c3\\u00a9\"");
    expect(LT_S("</script>"), "\"\\u003c/script>\"");
}

Test(json, full) {
    struct lt_buf out;
    lt_buf_init(&out, 8);
    cr_assert_not(lt_json_text(&out, LT_S("longer than eight")));
    cr_assert_eq(out.len, 0);
    lt_buf_fini(&out);
}
