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

static char bytes[70000];
static size_t ends[6], n_bytes;

static void frame(unsigned i, const unsigned char *head, size_t size, size_t payload) {
    memcpy(bytes + n_bytes, head, size);
    for (size_t k = 0; k < payload; k++)
        bytes[n_bytes + size + k] = (char)0x88; // would be a close frame where a header is expected
    n_bytes += size + payload;
    ends[i] = n_bytes;
}

static void build(void) {
    n_bytes = 0;
    frame(0, hello, sizeof hello, 0);
    frame(1, masked, sizeof masked, 0);
    frame(2, masked_empty, sizeof masked_empty, 0);
    frame(3, medium_head, sizeof medium_head, 256);
    frame(4, empty, sizeof empty, 0);
    frame(5, large_head, sizeof large_head, 65536);
}

static void pass_in(size_t step) {
    size_t at = 0, next = 0;
    struct lt_ws_frames f = {0};
    build();
    cr_assert(lt_ws_is_between(&f));
    while (at < n_bytes) {
        size_t piece = step < n_bytes - at ? step : n_bytes - at;
        lt_ws_pass(&f, lt_span(bytes + at, piece), false);
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

Test(websocket, stops_behind_a_frame) {
    build();
    size_t at = 3;
    struct lt_ws_frames f = {0};
    cr_assert_eq(lt_ws_pass(&f, lt_span(bytes, at), true), at);
    for (unsigned i = 0; i < 6; i++) {
        at += lt_ws_pass(&f, lt_span(bytes + at, n_bytes - at), true);
        cr_assert_eq(at, ends[i]);
    }
}

Test(websocket, sees_a_close_frame) {
    struct lt_ws_frames f = {0};
    unsigned char own[LT_WS_GOING_AWAY_MAX];
    size_t n = lt_ws_going_away(own, NULL);
    for (size_t i = 0; i < n; i++)
        lt_ws_pass(&f, lt_span((char *)own + i, 1), false);
    cr_assert(f.closed && lt_ws_is_between(&f));
}

Test(websocket, gives_up_on_what_is_no_length) {
    static const unsigned char bad[] = {0x82, 127, 0x80, 0, 0, 0, 0, 0, 0, 0};
    struct lt_ws_frames f = {0};
    lt_ws_pass(&f, lt_span((const char *)bad, sizeof bad), false);
    cr_assert(f.lost && !lt_ws_is_between(&f));
    lt_ws_pass(&f, lt_span("anything", 8), false);
    cr_assert(!lt_ws_is_between(&f));
}

Test(websocket, writes_going_away) {
    unsigned char out[LT_WS_GOING_AWAY_MAX];
    cr_assert_eq(lt_ws_going_away(out, NULL), 4);
    cr_assert_arr_eq(out, ((unsigned char[]){0x88, 0x02, 0x03, 0xe9}), 4);
    cr_assert_eq(lt_ws_going_away(out, (unsigned char[]){1, 2, 3, 4}), 8);
    cr_assert_arr_eq(out, ((unsigned char[]){0x88, 0x82, 1, 2, 3, 4, 0x02, 0xeb}), 8);
}
