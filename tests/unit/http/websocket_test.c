// SPDX-License-Identifier: Apache-2.0
#include "http/websocket.h"

#include "tests/rig/leaks.h"

#include <criterion/criterion.h>

TestSuite(websocket, .fini = lt_rig_leaks);

// Frames of all three length forms, masked and not, with the offsets at which one ends.
static const unsigned char hello[] = {0x81, 0x05, 'H', 'e', 'l', 'l', 'o'};
static const unsigned char masked[] = {0x81, 0x82, 1, 2, 3, 4, 'x', 'y'};
static const unsigned char masked_empty[] = {0x89, 0x80, 1, 2, 3, 4};
static const unsigned char empty[] = {0x8a, 0x00};
static const unsigned char medium_head[] = {0x02, 126, 0x01, 0x00};
static const unsigned char large_head[] = {0x80, 127, 0, 0, 0, 0, 0, 1, 0, 0};

static size_t build(char *out, size_t ends[6]) {
    size_t n = 0, e = 0;
#define FRAME(bytes, payload)                                                                                          \
    do {                                                                                                               \
        memcpy(out + n, bytes, sizeof(bytes));                                                                         \
        memset(out + n + sizeof(bytes), 0x88, payload);                                                                \
        n += sizeof(bytes) + (payload);                                                                                \
        ends[e++] = n;                                                                                                 \
    } while (0)
    FRAME(hello, 0);
    FRAME(masked, 0);
    FRAME(masked_empty, 0);
    FRAME(medium_head, 256);
    FRAME(empty, 0);
    FRAME(large_head, 65536);
    return n;
}

static void pass_in(size_t step) {
    static char bytes[70000];
    size_t ends[6], n = build(bytes, ends), at = 0, next = 0;
    struct lt_ws_frames f = {0};
    cr_assert(lt_ws_is_between(&f));
    while (at < n) {
        size_t piece = step < n - at ? step : n - at;
        lt_ws_pass(&f, lt_span(bytes + at, piece));
        at += piece;
        while (next < 6 && ends[next] < at)
            next++;
        cr_assert_eq(lt_ws_is_between(&f), ends[next] == at, "after %zu bytes in steps of %zu", at, step);
    }
    cr_assert(!f.closed && !f.lost);
}

Test(websocket, knows_where_frames_end) {
    for (size_t step = 1; step < 20; step++)
        pass_in(step);
    pass_in(70000);
}

Test(websocket, sees_a_close_frame) {
    struct lt_ws_frames f = {0};
    unsigned char own[LT_WS_GOING_AWAY_MAX];
    size_t n = lt_ws_going_away(own, NULL);
    for (size_t i = 0; i < n; i++)
        lt_ws_pass(&f, lt_span((char *)own + i, 1));
    cr_assert(f.closed && lt_ws_is_between(&f));
}

Test(websocket, gives_up_on_what_is_no_length) {
    static const unsigned char bad[] = {0x82, 127, 0x80, 0, 0, 0, 0, 0, 0, 0};
    struct lt_ws_frames f = {0};
    lt_ws_pass(&f, lt_span((const char *)bad, sizeof bad));
    cr_assert(f.lost && !lt_ws_is_between(&f));
    lt_ws_pass(&f, lt_span("anything", 8));
    cr_assert(!lt_ws_is_between(&f));
}

Test(websocket, writes_going_away) {
    unsigned char out[LT_WS_GOING_AWAY_MAX];
    cr_assert_eq(lt_ws_going_away(out, NULL), 4);
    cr_assert_arr_eq(out, ((unsigned char[]){0x88, 0x02, 0x03, 0xe9}), 4);
    cr_assert_eq(lt_ws_going_away(out, (unsigned char[]){1, 2, 3, 4}), 8);
    cr_assert_arr_eq(out, ((unsigned char[]){0x88, 0x82, 1, 2, 3, 4, 0x02, 0xeb}), 8);
}
