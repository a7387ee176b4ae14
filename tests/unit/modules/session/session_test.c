// SPDX-License-Identifier: Apache-2.0
// The module's whole way through an exchange, with a store in memory.
#include "tests/unit/modules/session/session_rig.h"

static void begin(bool exclusive) {
    begin_with(exclusive, "--store=redis://127.0.0.1:1/0", NULL);
}

TestSuite(session, .fini = end);

Test(session, without_a_token_nothing_is_asked) {
    begin(true);
    struct rig_exchange *x = ask("theme=dark; PHPSESSID=forged");
    cr_assert_eq(x->verdict, LT_NEXT);
    cr_assert_str_eq(rig_request_field(x, "Cookie"), "theme=dark");
    cr_assert_eq(answer(x, "Set-Cookie: theme=light\n"), LT_NEXT);
    cr_assert_str_eq(rig_response_field(x, "Set-Cookie"), "theme=light");
    cr_assert(!x->hold && !x->must_finish && !x->session);
    over(x);
    expect_ops("");
}

Test(session, a_session_is_made_kept_and_given_back) {
    begin(false);
    struct rig_exchange *x = ask("");
    cr_assert_eq(answer(x, "Set-Cookie: a=1\nSet-Cookie: PHPSESSID=one; path=/; HttpOnly\n"), LT_NEXT);
    const char *token = token_of(x);
    const char *fields = rig_response_field(x, "Set-Cookie");
    cr_assert(strstr(fields, "; Path=/; HttpOnly; SameSite=Lax\n") ||
                  strstr(fields, "; Path=/; HttpOnly; SameSite=Lax"),
              "%s", fields);
    cr_assert_not(strstr(fields, "PHPSESSID"));
    char cookie[256];
    snprintf(cookie, sizeof cookie, "b=2; %s", token);
    over(x);
    expect_ops("create");
    x = ask(cookie);
    cr_assert_eq(x->verdict, LT_NEXT);
    cr_assert_str_eq(rig_request_field(x, "Cookie"), "b=2; PHPSESSID=one");
    cr_assert_eq(answer(x, ""), LT_NEXT);
    cr_assert_null(rig_response_field(x, "Set-Cookie"));
    over(x);
    expect_ops("load");
    cr_assert(count("created") == 1 && count("loaded") == 1);
}

Test(session, over_https_the_cookie_is_tied_to_the_host) {
    begin(false);
    struct rig_exchange *x = rig_exchange_new(rig);
    x->https = true;
    rig_request(x, "GET / HTTP/1.1\nHost: a\n");
    cr_assert_eq(answer(x, "Set-Cookie: PHPSESSID=one; Max-Age=60\n"), LT_NEXT);
    const char *field = rig_response_field(x, "Set-Cookie");
    cr_assert_eq(strncmp(field, "__Host-lethe=", 13), 0);
    cr_assert(strstr(field, "; Path=/; HttpOnly; SameSite=Lax; Secure; Max-Age=60"), "%s", field);
    over(x);
}

Test(session, unknown_and_ended_tokens_are_not_adopted) {
    begin(true);
    static const char *const tokens[] = {"lethe=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", "lethe=short"};
    static const char *const ops[] = {"load!", ""};
    for (int i = 0; i < 2; i++) {
        struct rig_exchange *x = ask(tokens[i]);
        cr_assert_eq(x->verdict, LT_NEXT);
        cr_assert_null(rig_request_field(x, "Cookie"));
        cr_assert_eq(answer(x, ""), LT_NEXT);
        cr_assert_null(rig_response_field(x, "Set-Cookie"),
                       "an answer that deletes it might come after one that sets a newer");
        over(x);
        expect_ops(ops[i]);
    }
    cr_assert_eq(count("missing"), 2);
}

Test(session, a_store_that_is_away_is_no_logout) {
    begin(false);
    const char *token = log_in();
    fake_store_next(LT_STORE_LOAD, LT_STORE_DOWN);
    struct rig_exchange *x = ask(token);
    cr_assert(x->verdict == LT_FAIL && x->status == 503);
    cr_assert_str_eq(x->reason, "store_unavailable");
    over(x);
    x = ask("");
    cr_assert_eq(x->verdict, LT_NEXT);
    fake_store_next(LT_STORE_CREATE, LT_STORE_DOWN);
    cr_assert_eq(answer(x, "Set-Cookie: PHPSESSID=two\n"), LT_FAIL);
    cr_assert_str_eq(x->reason, "store_unavailable");
    over(x);
    x = ask(token);
    cr_assert_str_eq(rig_request_field(x, "Cookie"), "PHPSESSID=one");
    over(x);
}

Test(session, with_a_carrier_the_session_is_locked_and_committed) {
    begin(true);
    struct rig_exchange *x = ask(log_in());
    cr_assert(x->verdict == LT_NEXT && x->hold && x->must_finish && x->session);
    cr_assert_eq(answer(x, ""), LT_NEXT);
    cr_assert(lt_record_set_content(x->session->record, LT_S("files:one"), LT_S("n|i:1;")));
    cr_assert_eq(finish(x), LT_NEXT);
    expect_ops("load save");
    over(x);
    expect_ops("");
    x = ask(log_in());
    cr_assert_eq(answer(x, ""), LT_NEXT);
    cr_assert_eq(finish(x), LT_NEXT);
    expect_ops("load release");
    over(x);
}

Test(session, content_comes_back) {
    begin(true);
    const char *token = log_in();
    struct rig_exchange *x = ask(token);
    answer(x, "");
    cr_assert(lt_record_set_content(x->session->record, LT_S("files:one"), LT_S("n|i:1;")));
    cr_assert_eq(finish(x), LT_NEXT);
    over(x);
    x = ask(token);
    cr_assert(lt_span_eq(lt_record_content(x->session->record, LT_S("files:one"))->bytes, LT_S("n|i:1;")));
    over(x);
}

Test(session, an_answer_that_did_not_come_stores_nothing) {
    begin(true);
    struct rig_exchange *x = ask(log_in());
    cr_assert(lt_record_set_content(x->session->record, LT_S("files:one"), LT_S("torn")));
    cr_assert_eq(finish(x), LT_NEXT);
    over(x);
    expect_ops("load release");
}

Test(session, a_lost_lease_is_a_failed_answer) {
    begin(true);
    struct rig_exchange *x = ask(log_in());
    answer(x, "");
    cr_assert(lt_record_set_content(x->session->record, LT_S("files:one"), LT_S("late")));
    fake_store_steal();
    cr_assert_eq(finish(x), LT_FAIL);
    cr_assert_str_eq(x->reason, "session_lease_lost");
    cr_assert(count("fenced") == 1 && count("lost") == 1);
    over(x);
}

Test(session, the_lease_is_renewed) {
    begin(true);
    struct rig_exchange *x = ask(log_in());
    rig_advance(rig, 15000);
    answer(x, "");
    finish(x);
    expect_ops("load renew renew renew release");
    over(x);
}

Test(session, waiting_for_the_lock_has_an_end) {
    begin(true);
    const char *token = log_in();
    fake_store_steal();
    struct rig_exchange *x = ask(token);
    cr_assert_eq(x->verdict, LT_WAIT);
    rig_advance(rig, 31000);
    cr_assert(x->verdict == LT_FAIL && x->status == 503);
    cr_assert_str_eq(x->reason, "session_locked");
    cr_assert(count("lock_waited") == 1 && count("lock_timeout") == 1);
    over(x);
}

Test(session, within_a_worker_the_order_is_kept) {
    begin(true);
    const char *token = log_in();
    struct rig_exchange *x[3];
    for (int i = 0; i < 3; i++)
        x[i] = ask(token);
    cr_assert(x[0]->verdict == LT_NEXT && x[1]->verdict == LT_WAIT && x[2]->verdict == LT_WAIT);
    expect_ops("load");
    rig_close(x[1]); // its client left
    rig_exchange_free(x[1]);
    answer(x[0], "");
    finish(x[0]);
    over(x[0]);
    cr_assert_eq(x[2]->verdict, LT_NEXT);
    expect_ops("release load");
    over(x[2]);
    expect_ops("release");
}

Test(session, in_line_waiting_has_an_end_too) {
    begin(true);
    const char *token = log_in();
    struct rig_exchange *first = ask(token), *second = ask(token);
    rig_advance(rig, 31000);
    cr_assert(second->verdict == LT_FAIL);
    cr_assert_str_eq(second->reason, "session_locked");
    over(second);
    over(first);
}

Test(session, a_lock_that_comes_too_late_is_given_back) {
    begin(true);
    const char *token = log_in();
    fake_store_hold(true);
    struct rig_exchange *x = ask(token);
    cr_assert_eq(x->verdict, LT_WAIT);
    over(x); // the client left
    fake_store_hold(false);
    rig_turn(rig);
    expect_ops("load release");
    x = ask(token);
    cr_assert_eq(x->verdict, LT_NEXT);
    over(x);
}

Test(session, a_new_id_gets_a_new_token) {
    begin(false);
    char old[128];
    snprintf(old, sizeof old, "%s", log_in());
    struct rig_exchange *x = ask(old);
    cr_assert_eq(answer(x, "Set-Cookie: PHPSESSID=two; path=/\n"), LT_NEXT);
    cr_assert_str_neq(token_of(x), old);
    over(x);
    expect_ops("load create expire");
    cr_assert_eq(count("rotated"), 1);
    x = ask(old);
    cr_assert_str_eq(rig_request_field(x, "Cookie"), "PHPSESSID=one", "for a while the old token leads to the old id");
    over(x);
}

Test(session, with_a_carrier_the_old_record_is_written_first) {
    begin(true);
    struct rig_exchange *x = ask(log_in());
    cr_assert_eq(answer(x, "Set-Cookie: PHPSESSID=two; path=/\n"), LT_NEXT);
    cr_assert(x->session->previous &&
              lt_span_eq(lt_record_cookie(x->session->previous, LT_S("PHPSESSID"))->value, LT_S("one")));
    cr_assert_eq(finish(x), LT_NEXT);
    over(x);
    expect_ops("load create save save");
}

Test(session, a_late_rotation_does_not_bring_a_session_back) {
    begin(true);
    const char *token = log_in();
    struct rig_exchange *slow = ask(token);
    fake_store_next(LT_STORE_SAVE, LT_STORE_ENDED);
    cr_assert_eq(answer(slow, "Set-Cookie: PHPSESSID=two; path=/\n"), LT_NEXT);
    finish(slow);
    over(slow);
    expect_ops("load create save! end release");
    cr_assert_eq(fake_store_alive(), 1, "the old one, which only said that it was ended");
}

Test(session, logout_is_the_end) {
    for (int exclusive = 0; exclusive < 2; exclusive++) {
        begin(exclusive);
        char token[128];
        snprintf(token, sizeof token, "%s", log_in());
        struct rig_exchange *x = ask(token);
        cr_assert_eq(answer(x, "Set-Cookie: PHPSESSID=deleted; Max-Age=0; path=/\n"), LT_NEXT);
        cr_assert_str_eq(rig_response_field(x, "Set-Cookie"), "lethe=; Path=/; HttpOnly; SameSite=Lax; Max-Age=0");
        cr_assert_eq(finish(x), LT_NEXT);
        over(x);
        expect_ops("load end");
        x = ask(token);
        cr_assert_null(rig_request_field(x, "Cookie"));
        over(x);
        cr_assert_eq(fake_store_alive(), 0);
        if (!exclusive)
            rig_free(rig);
    }
}

Test(session, two_answers_that_change_the_jar_are_both_kept) {
    begin(false);
    const char *token = log_in();
    struct rig_exchange *x = ask(token);
    fake_store_touch(); // another answer was faster
    cr_assert_eq(answer(x, "Set-Cookie: rack.session=more; path=/\n"), LT_NEXT);
    over(x);
    expect_ops("load save! load save");
    x = ask(token);
    cr_assert_str_eq(rig_request_field(x, "Cookie"), "PHPSESSID=one; rack.session=more");
    over(x);
}

Test(session, exempt_paths_have_no_session) {
    begin(true);
    const char *token = log_in();
    struct rig_exchange *x = rig_exchange_new(rig);
    char head[256];
    snprintf(head, sizeof head, "GET /style.css?v=1 HTTP/1.1\nHost: a\nCookie: a=1; %s\n", token);
    cr_assert_eq(rig_request(x, head), LT_NEXT);
    cr_assert_str_eq(rig_request_field(x, "Cookie"), "a=1");
    cr_assert_eq(answer(x, "Set-Cookie: PHPSESSID=x\n"), LT_NEXT);
    cr_assert_null(rig_response_field(x, "Set-Cookie"));
    over(x);
    expect_ops("");
}

Test(session, what_a_carrier_has_settled_is_committed_with_the_head) {
    begin(true);
    struct rig_exchange *x = ask(log_in());
    cr_assert(lt_record_set_content(x->session->record, LT_S("files:one"), LT_S("n|i:1;")));
    x->session->settled = true;
    cr_assert_eq(answer(x, "Content-Type: text/event-stream\n"), LT_NEXT);
    cr_assert(!x->hold && !x->must_finish);
    expect_ops("load save");
    over(x);
    expect_ops("");
}

// An event stream that moves the session (a login): the new id must not be lost for having been settled.
Test(session, what_is_settled_still_gets_its_new_token) {
    begin(true);
    const char *before = log_in();
    char old[128];
    snprintf(old, sizeof old, "%s", before);
    struct rig_exchange *x = ask(old);
    x->session->settled = true;
    cr_assert_eq(answer(x, "Content-Type: text/event-stream\nSet-Cookie: PHPSESSID=two; path=/\n"), LT_NEXT);
    cr_assert_str_neq(token_of(x), old);
    cr_assert_eq(finish(x), LT_NEXT);
    over(x);
}

Test(session, findings) {
    begin(false);
    static const struct {
        const char *flag, *wanted;
    } rows[] = {
        {"--store=redis:/x", "store: "},
        {"--keys=nonsense", "keys: key 1 has no \":\""},
        {"--keys=file:/nonexistent", "keys: /nonexistent: No such file"},
        {"--session.on_outage=sealed", "session.on_outage: there is no store"},
        {"--session.revocations=jwt", "session.revocations: write \"redis://"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        const char *said = rig_findings(&(struct rig_setup){.module = &lt_module_session,
                                                            .flags = RIG_FLAGS("--upstream=127.0.0.1:1", rows[i].flag)});
        cr_assert(strstr(said, rows[i].wanted), "%s: %s", rows[i].flag, said);
    }
}
