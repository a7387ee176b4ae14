// SPDX-License-Identifier: Apache-2.0
#include "base/log.h"

#include "base/clock.h"
#include "tests/rig/leaks.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <unistd.h>

static void leave(void) {
    lt_clock_set(-1, -1);
    lt_log_setup(LT_LOG_INFO, LT_LOG_TEXT);
    lt_rig_leaks();
}

TestSuite(log, .fini = leave);

#define HEAD "time=2001-09-09T01:46:40.007Z level=info event=x"
#define JSON "{\"time\":\"2001-09-09T01:46:40.007Z\",\"level\":\"info\",\"event\":\"x\""

static void stand_still(enum lt_log_format format) {
    lt_clock_set(0, 1000000000007);
    lt_log_setup(LT_LOG_INFO, format);
}

static void expect(const char *line, struct lt_field field) {
    char out[512];
    size_t n = lt_log_line(out, sizeof out, LT_LOG_INFO, "x", &field, 1);
    cr_assert(lt_span_eq(lt_span(out, n), lt_span_cstr(line)), "got %.*swanted %s", (int)n, out, line);
}

Test(log, text) {
    stand_still(LT_LOG_TEXT);
    expect(HEAD " a=plain-1.2/3:4\n", lt_fs("a", "plain-1.2/3:4"));
    expect(HEAD " a=-42\n", lt_fn("a", -42));
    expect(HEAD " a=-9223372036854775808\n", lt_fn("a", INT64_MIN));
    expect(HEAD " a=\"\"\n", lt_fs("a", ""));
    expect(HEAD " a=\"\"\n", lt_f("a", lt_span(NULL, 0)));
    expect(HEAD " a=\"two words\"\n", lt_fs("a", "two words"));
    expect(HEAD " a=\"b=c\"\n", lt_fs("a", "b=c"));
    expect(HEAD " a=\"q\\\"\\\\q\"\n", lt_fs("a", "q\"\\q"));
}

// What a peer sent cannot end the line, forge a field or reach the terminal.
Test(log, controls_are_escaped) {
    stand_still(LT_LOG_TEXT);
    expect(HEAD " a=\"x\\u000d\\u000alevel=error\"\n", lt_fs("a", "x\r\nlevel=error"));
    expect(HEAD " a=\"\\u001b[2J\"\n", lt_fs("a", "\033[2J"));
    expect(HEAD " a=\"\\u0000\"\n", lt_f("a", LT_S("\0")));
    expect(HEAD " a=\"\\u007f\\u00ff\"\n", lt_fs("a", "\177\377"));
}

Test(log, json) {
    stand_still(LT_LOG_JSON);
    expect(JSON ",\"a\":\"plain\"}\n", lt_fs("a", "plain"));
    expect(JSON ",\"a\":7}\n", lt_fn("a", 7));
    expect(JSON ",\"a\":\"q\\\"\\\\\\u000a\\u00e9\"}\n", lt_fs("a", "q\"\\\n\351"));
}

// In buffers of every size: never written beyond, and always one whole line.
Test(log, a_cut_line_still_ends) {
    char text[300];
    memset(text, '\n', sizeof text); // each takes six bytes when escaped
    const struct lt_field fields[] = {lt_f("a", lt_span(text, sizeof text)), lt_fn("b", 1)};
    for (int format = LT_LOG_TEXT; format <= LT_LOG_JSON; format++) {
        stand_still((enum lt_log_format)format);
        for (size_t size = 8; size < 2200; size++) {
            char *out = malloc(size); // its own block: an overrun is seen
            size_t n = lt_log_line(out, size, LT_LOG_INFO, "x", fields, 2);
            cr_assert_leq(n, size);
            cr_assert_eq(out[n - 1], '\n', "size %zu", size);
            cr_assert_eq(memchr(out, '\n', n), out + n - 1, "size %zu", size);
            free(out);
        }
    }
}

Test(log, levels) {
    lt_log_setup(LT_LOG_WARN, LT_LOG_TEXT);
    cr_assert(lt_log_wants(LT_LOG_ERROR));
    cr_assert(lt_log_wants(LT_LOG_WARN));
    cr_assert_not(lt_log_wants(LT_LOG_INFO));
    lt_log_setup(LT_LOG_DEBUG, LT_LOG_TEXT);
    cr_assert(lt_log_wants(LT_LOG_DEBUG));
}

Test(log, an_event_is_one_line_on_stderr) {
    char got[512];
    int ends[2];
    stand_still(LT_LOG_TEXT);
    cr_assert_eq(pipe(ends), 0);
    int kept = dup(STDERR_FILENO);
    dup2(ends[1], STDERR_FILENO);
    LT_LOG(LT_LOG_INFO, "x", lt_fs("a", "b"));
    LT_LOG(LT_LOG_DEBUG, "unwanted", lt_fs("a", "b"));
    dup2(kept, STDERR_FILENO);
    close(ends[1]);
    ssize_t n = read(ends[0], got, sizeof got);
    cr_assert(n > 0 && lt_span_eq(lt_span(got, (size_t)n), LT_S(HEAD " a=b\n")));
    cr_assert_eq(read(ends[0], got, sizeof got), 0, "one line only");
    close(ends[0]);
    close(kept);
}
