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

static void say(enum lt_log_level level, const char *event, const char *why) {
    LT_LOG(level, event, lt_fs("id", "r1"), lt_fs("why", why), lt_fs("do", "mend it"), lt_fs("cookie", "s3cret"));
}

// Kept whatever the log's level is; nothing but the event, the reason, the advice and the id.
Test(log, recent_errors) {
    struct lt_log_row rows[LT_LOG_ROWS];
    stand_still(LT_LOG_TEXT);
    int kept = dup(STDERR_FILENO);
    cr_assert_not_null(freopen("/dev/null", "w", stderr));
    lt_log_setup(LT_LOG_ERROR, LT_LOG_TEXT);
    say(LT_LOG_INFO, "started", "all is well");
    cr_assert_eq(lt_log_recent(rows), 0);
    say(LT_LOG_WARN, "away", "refused");
    say(LT_LOG_ERROR, "broken", "disk");
    say(LT_LOG_WARN, "away", "refused");
    cr_assert_eq(lt_log_recent(rows), 2);
    cr_assert_str_eq(rows[0].event, "away");
    cr_assert_eq(rows[0].count, 2);
    cr_assert_eq(rows[0].time, 1000000000007);
    cr_assert_str_eq(rows[1].event, "broken");
    cr_assert_str_eq(rows[1].why, "disk");
    cr_assert_str_eq(rows[1].advice, "mend it");
    cr_assert_str_eq(rows[1].id, "r1");
    cr_assert_null(memmem(rows, sizeof *rows * 2, "s3cret", 6));
    for (int i = 0; i < LT_LOG_ROWS; i++) {
        char why[16];
        snprintf(why, sizeof why, "%d", i);
        lt_log_note("request_failed", why, LT_S("not an id"));
    }
    cr_assert_eq(lt_log_recent(rows), LT_LOG_ROWS);
    cr_assert_str_eq(rows[0].why, "63");
    cr_assert_str_eq(rows[0].id, "");
    cr_assert_str_eq(rows[LT_LOG_ROWS - 1].why, "0", "the oldest went first");
    dup2(kept, STDERR_FILENO);
    close(kept);
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
