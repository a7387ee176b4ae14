// SPDX-License-Identifier: Apache-2.0
// Records that the client holds, and what becomes of sessions while the store is away.
#include "tests/unit/modules/session/session_rig.h"

TestSuite(held, .fini = end);

#define OUTAGE "--session.on_outage=sealed"
#define REDIS "--store=redis://127.0.0.1:1/0"
#define REVOCATIONS "--session.revocations=redis://127.0.0.1:1/0"

// A session that began while the store was away; the client's cookie.
static const char *log_in_outage(void) {
    static char cookie[512];
    begin_with(false, REDIS, OUTAGE);
    fake_store_next(LT_STORE_CREATE, LT_STORE_DOWN);
    struct rig_exchange *x = ask("");
    cr_assert_eq(answer(x, "Set-Cookie: PHPSESSID=one; path=/\n"), LT_NEXT);
    snprintf(cookie, sizeof cookie, "%s", token_of(x));
    cr_assert(strlen(cookie) > sizeof "lethe=" + LT_TOKEN_TEXT);
    over(x);
    expect_ops("create!");
    return cookie;
}

Test(held, what_was_sealed_in_an_outage_moves_with_the_first_request) {
    const char *cookie = log_in_outage();
    fake_store_next(LT_STORE_LOAD, LT_STORE_DOWN);
    struct rig_exchange *x = ask(cookie);
    cr_assert_str_eq(rig_request_field(x, "Cookie"), "PHPSESSID=one");
    cr_assert_eq(answer(x, ""), LT_NEXT);
    cr_assert_null(rig_response_field(x, "Set-Cookie"), "still away, and nothing has changed");
    over(x);
    expect_ops("load!");
    x = ask(cookie);
    cr_assert_str_eq(rig_request_field(x, "Cookie"), "PHPSESSID=one");
    cr_assert_eq(answer(x, ""), LT_NEXT);
    cr_assert_eq(strlen(token_of(x)), sizeof "lethe=" - 1 + LT_TOKEN_TEXT);
    over(x);
    expect_ops("load! put");
    x = ask(cookie);
    cr_assert_eq(answer(x, "Set-Cookie: rack.session=x\n"), LT_NEXT);
    cr_assert_eq(strlen(token_of(x)), sizeof "lethe=" - 1 + LT_TOKEN_TEXT);
    over(x);
    expect_ops("load save");
    cr_assert(fake_store_alive() == 1 && count("outage_moved") == 1);
}

Test(held, of_two_requests_that_move_it_the_second_takes_what_the_first_has_made) {
    const char *cookie = log_in_outage();
    fake_store_hold(true);
    struct rig_exchange *a = ask(cookie), *b = ask(cookie);
    fake_store_hold(false);
    rig_turn(rig);
    cr_assert(a->verdict == LT_NEXT && b->verdict == LT_NEXT);
    expect_ops("load! load! put put! load");
    cr_assert_eq(answer(a, ""), LT_NEXT);
    cr_assert_eq(answer(b, ""), LT_NEXT);
    char token[512];
    snprintf(token, sizeof token, "%s", token_of(a));
    cr_assert_str_eq(token_of(b), token);
    over(a);
    over(b);
}

Test(held, a_store_that_goes_again_while_it_moves) {
    const char *cookie = log_in_outage();
    fake_store_next(LT_STORE_PUT, LT_STORE_DOWN);
    struct rig_exchange *x = ask(cookie);
    cr_assert_str_eq(rig_request_field(x, "Cookie"), "PHPSESSID=one");
    cr_assert_eq(answer(x, "Set-Cookie: rack.session=x\n"), LT_NEXT);
    cr_assert_gt(strlen(token_of(x)), sizeof "lethe=" + LT_TOKEN_TEXT);
    over(x);
    expect_ops("load! put!");
}

Test(held, a_copy_from_an_outage_does_not_outlive_the_logout) {
    const char *cookie = log_in_outage();
    struct rig_exchange *x = ask(cookie);
    cr_assert_eq(answer(x, "Set-Cookie: PHPSESSID=; Max-Age=0; path=/\n"), LT_NEXT);
    over(x);
    expect_ops("load! put end");
    x = ask(cookie);
    cr_assert_null(rig_request_field(x, "Cookie"));
    over(x);
    expect_ops("load!");
    fake_store_next(LT_STORE_LOAD, LT_STORE_MISS); // the tombstone came in between
    x = ask(cookie);
    cr_assert_null(rig_request_field(x, "Cookie"));
    over(x);
    expect_ops("load! put!");
}

Test(held, a_client_that_leaves_while_its_record_is_looked_up) {
    const char *cookie = log_in_outage();
    fake_store_hold(true);
    struct rig_exchange *x = ask(cookie);
    cr_assert_eq(x->verdict, LT_WAIT);
    over(x);
    fake_store_hold(false);
    rig_turn(rig);
    expect_ops("load!");
}

Test(held, anonymous_goes_on_without_and_changes_nothing) {
    begin_with(false, REDIS, "--session.on_outage=anonymous");
    const char *token = log_in();
    fake_store_next(LT_STORE_LOAD, LT_STORE_DOWN);
    struct rig_exchange *x = ask(token);
    cr_assert(x->verdict == LT_NEXT && !rig_request_field(x, "Cookie") && !x->session);
    cr_assert_eq(answer(x, "Set-Cookie: PHPSESSID=two; path=/\nSet-Cookie: a=1\n"), LT_NEXT);
    cr_assert_str_eq(rig_response_field(x, "Set-Cookie"), "a=1");
    over(x);
    expect_ops("load!");
    x = rig_exchange_new(rig);
    char head[256];
    snprintf(head, sizeof head, "POST /page HTTP/1.1\nHost: a\nContent-Length: 0\nCookie: %s\n", token);
    fake_store_next(LT_STORE_LOAD, LT_STORE_DOWN);
    rig_request(x, head);
    rig_turn(rig);
    cr_assert(x->verdict == LT_FAIL && x->status == 503);
    over(x);
}

Test(held, a_logout_is_written_down_where_the_client_holds_the_record) {
    begin_with(false, "--store=sealed", REVOCATIONS);
    struct rig_exchange *x = ask("");
    cr_assert_eq(answer(x, "Set-Cookie: PHPSESSID=one; path=/\n"), LT_NEXT);
    char cookie[512];
    snprintf(cookie, sizeof cookie, "%s", token_of(x));
    over(x);
    expect_ops("");
    x = ask(cookie);
    cr_assert_str_eq(rig_request_field(x, "Cookie"), "PHPSESSID=one");
    cr_assert_eq(answer(x, "Set-Cookie: PHPSESSID=; Max-Age=0; path=/\n"), LT_NEXT);
    over(x);
    expect_ops("load! end");
    x = ask(cookie);
    cr_assert(x->verdict == LT_NEXT && !rig_request_field(x, "Cookie"));
    cr_assert_eq(count("revoked"), 1);
    over(x);
    expect_ops("load!");
    fake_store_next(LT_STORE_LOAD, LT_STORE_DOWN);
    x = ask(cookie);
    cr_assert(x->verdict == LT_FAIL && x->status == 503);
    over(x);
}
