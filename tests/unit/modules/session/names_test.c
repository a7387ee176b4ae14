// SPDX-License-Identifier: Apache-2.0
#include "modules/session/names.h"

#include "config/pattern.h"
#include "tests/rig/leaks.h"

#include <criterion/criterion.h>

TestSuite(names, .fini = lt_rig_leaks);

static struct lt_option_list list_of(struct lt_span *v, const char *text) {
    struct lt_option_list list = {.v = v};
    struct lt_span rest = lt_span_cstr(text);
    while (lt_span_next(&rest, &v[list.n]))
        list.n++;
    lt_pattern_list_prepare(&list);
    return list;
}

Test(names, kinds) {
    static const struct {
        const char *names, *cookie;
        enum cookie_kind kind;
    } rows[] = {
        {SESSION_COOKIE_NAMES, "PHPSESSID", COOKIE_ID},
        {SESSION_COOKIE_NAMES, "phpsessid", COOKIE_OTHER},
        {SESSION_COOKIE_NAMES, "PHPSESSID2", COOKIE_OTHER},
        {SESSION_COOKIE_NAMES, "connect.sid", COOKIE_ID},
        {SESSION_COOKIE_NAMES, "rack.session", COOKIE_CARRIED},
        {SESSION_COOKIE_NAMES, "laravel_session", COOKIE_CARRIED},
        {SESSION_COOKIE_NAMES, "theme", COOKIE_OTHER},
        {"SHOP", "SHOP", COOKIE_ID},
        {"SHOP", "PHPSESSID", COOKIE_OTHER},
        {"wp_*", "wp_login", COOKIE_ID},
        {"wp_*", "wp_", COOKIE_ID},
        {"wp_*", "wp", COOKIE_OTHER},
        {"*", "anything", COOKIE_REISSUED},
        {"*", "PHPSESSID", COOKIE_REISSUED},
        {"PHPSESSID, *", "PHPSESSID", COOKIE_ID},
        {"PHPSESSID, *", "theme", COOKIE_REISSUED},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct lt_span v[32];
        struct lt_option_list names = list_of(v, rows[i].names);
        cr_assert_eq(cookie_kind(lt_span_cstr(rows[i].cookie), &names), rows[i].kind, "%s in %s", rows[i].cookie,
                     rows[i].names);
    }
}
