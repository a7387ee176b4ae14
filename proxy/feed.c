// SPDX-License-Identifier: Apache-2.0
#include "feed.h"

#include "base/clock.h"
#include "report.h"

enum { MEMBER_MAX = 1 << 20, FRESH_MS = 900, RETRY_MS = 1000 };

// The last report. It stays for the life of the process: a few kilobytes.
static struct {
    struct lt_buf members[LT_REPORT_MEMBERS];
    uint64_t changed[LT_REPORT_MEMBERS]; // the turn in which it was last another one
    uint64_t turn;
    int64_t made; // lt_clock_mono()
} feed;

static bool take(const struct lt_report *r, enum lt_report_member m) {
    struct lt_buf now;
    lt_buf_init(&now, MEMBER_MAX);
    bool ok = lt_report_print(r, m, &now);
    struct lt_span old = lt_buf_span(&feed.members[m]), text = lt_buf_span(&now);
    if (!ok || (old.p && text.p && lt_span_eq(text, old))) {
        lt_buf_fini(&now);
        return ok;
    }
    lt_buf_fini(&feed.members[m]);
    feed.members[m] = now;
    feed.changed[m] = feed.turn;
    return true;
}

static bool refresh(int64_t fresh_ms) {
    int64_t now = lt_clock_mono();
    if (feed.turn && now - feed.made < fresh_ms)
        return true;
    struct lt_report r;
    bool ok = lt_report_make(&r);
    feed.turn++;
    for (unsigned m = 0; ok && m < LT_REPORT_MEMBERS; m++)
        ok = take(&r, (enum lt_report_member)m);
    lt_report_fini(&r);
    feed.made = ok ? now : now - fresh_ms;
    return ok;
}

static bool print(struct lt_buf *out, const char *head, uint64_t seen) {
    bool ok = lt_buf_printf(out, "%s", head);
    for (unsigned m = 0; m < LT_REPORT_MEMBERS; m++)
        if (feed.changed[m] > seen)
            ok = ok && lt_buf_printf(out, ",\"%s\":", lt_report_names[m]) &&
                 lt_buf_append(out, lt_buf_span(&feed.members[m]));
    return ok;
}

bool lt_feed_report(struct lt_buf *out) {
    return refresh(0) && print(out, "{\"version\":1", 0) && lt_buf_printf(out, "}\n");
}

bool lt_feed_event(struct lt_buf *out, uint64_t *seen) {
    if (!refresh(FRESH_MS) || (*seen == 0 && !lt_buf_printf(out, "retry: %d\n", RETRY_MS)))
        return false;
    bool ok = print(out, "data: {\"version\":1", *seen) && lt_buf_printf(out, "}\n\n");
    *seen = feed.turn;
    return ok;
}
