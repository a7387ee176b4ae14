// SPDX-License-Identifier: Apache-2.0
// Which session ids name a replica, and which only look so.
#include "modules/audit/replica.h"

#include "tests/rig/leaks.h"

#include <criterion/criterion.h>

TestSuite(replica, .fini = lt_rig_leaks);

#define HEX32 "0123456789ABCDEF0123456789ABCDEF"

static struct lt_span names[] = {{"JSESSIONID", 10}, {"my*", 3}};
static const struct lt_option_list routes = {names, 2};

static void expect(const char *cookie, const char *value, const char *want) {
    struct replica_name got = replica_name_of(lt_span_cstr(cookie), lt_span_cstr(value), &routes);
    cr_assert(lt_span_eq(got.route, lt_span_cstr(want)), "%s=%s: %.*s, not %s", cookie, value, (int)got.route.n,
              got.route.p ? got.route.p : "", want);
}

Test(replica, cookies_that_carry_routes) {
    expect("JSESSIONID", HEX32 ".node1", "node1"); // Tomcat
    expect("JSESSIONID", "\"" HEX32 ".node1\"", "node1");
    expect("JSESSIONID", "x.a.b", "a.b");                 // mod_proxy_balancer: all behind the first dot
    expect("JSESSIONID", "abc!-12345!678", "-12345!678"); // WebLogic
    expect("JSESSIONID", "0000abcdef:clone1", "clone1");  // WebSphere
    expect("mysession", "x.y", "y");
    expect("JSESSIONID", HEX32, "");
    expect("JSESSIONID", HEX32 ".", "");
    expect("JSESSIONID", ".node1", "");
    expect("JSESSIONID", "", "");
}

Test(replica, other_cookies_need_a_name) {
    expect("sid", HEX32 ".node1", "node1");
    expect("sid", HEX32 ".app-03", "app-03");
    expect("sid", HEX32 ".node", "");
    expect("sid", HEX32 ".1234", "");
    expect("sid", HEX32 ".n0de1", "");
    expect("sid", "abc.node1", ""); // too short for an id
    expect("connect.sid", "s%3A" HEX32 ".c2lnbmF0dXJlc2lnbmF0dXJlc2lnbmF0dXJlc2lnbmF0", "");
    expect("connect.sid", "s:" HEX32 ".node1", ""); // express' form is id and signature
    expect("session", "eyJ1c2VyIjoxMjM0NTY3OH0.ZXhwaQ.c2lnbmF0dXJlc2lnbmF0dXJl", ""); // Flask's
    expect("session", "eyJhbGciOiJub25lIn0eyJhb.eyJh1.x", "");
    expect("PHPSESSID", "abcdefghijklmnop,-", "");
}

Test(replica, urls) {
    struct lt_span got = replica_id_in_url(LT_S("/page;jsessionid=ABC.node1?a=1"));
    cr_assert(lt_span_eq(got, LT_S("ABC.node1")));
    cr_assert(lt_span_eq(replica_id_in_url(LT_S("/page;jsessionid=ABC")), LT_S("ABC")));
    cr_assert_eq(replica_id_in_url(LT_S("/page;jsessionid=")).n, 0);
    cr_assert_eq(replica_id_in_url(LT_S("/page?a=.b")).n, 0);
    cr_assert_eq(replica_id_in_url(LT_S("")).n, 0);
}
