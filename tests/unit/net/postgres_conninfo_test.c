// SPDX-License-Identifier: Apache-2.0
#include "net/postgres_conninfo.h"

#include "net/postgres.h"
#include "tests/rig/leaks.h"

#include <criterion/criterion.h>

TestSuite(postgres_conninfo, .fini = lt_rig_leaks);

static const char *value_of(const struct lt_pg_parameters *p, const char *key) {
    for (unsigned i = 0; p->keys[i]; i++)
        if (strcmp(p->keys[i], key) == 0)
            return p->values[i];
    return "";
}

static struct lt_pg_conninfo *read_url(const char *url, struct lt_pg_parameters *out) {
    struct lt_pg_conninfo *c = lt_pg_conninfo_new(lt_span_cstr(url));
    cr_assert(c && lt_pg_conninfo_resolve(c), "%s", url);
    cr_assert_eq(lt_pg_conninfo_parameters(c, 0, out), LT_OK, "%s", url);
    return c;
}

Test(postgres_conninfo, numeric_hosts_and_one_port_each) {
    struct lt_pg_parameters p;
    struct lt_pg_conninfo *c = read_url("postgres://u:p%40ss@127.0.0.1:1,[::1]:2,10.0.0.1/d?sslmode=require", &p);
    cr_assert_str_eq(value_of(&p, "host"), "127.0.0.1,::1,10.0.0.1");
    cr_assert_str_eq(value_of(&p, "hostaddr"), "127.0.0.1,::1,10.0.0.1");
    cr_assert_str_eq(value_of(&p, "port"), "1,2,5432");
    cr_assert_str_eq(value_of(&p, "user"), "u");
    cr_assert_str_eq(value_of(&p, "password"), "p@ss");
    cr_assert_str_eq(value_of(&p, "dbname"), "d");
    cr_assert_str_eq(value_of(&p, "sslmode"), "require");
    cr_assert_str_eq(value_of(&p, "gssencmode"), "disable");
    cr_assert_str_eq(value_of(&p, "fallback_application_name"), "lethe");
    cr_assert_str_eq(lt_pg_conninfo_where(c), "127.0.0.1,::1,10.0.0.1");
    lt_pg_conninfo_free(c);
}

Test(postgres_conninfo, a_socket_needs_no_address) {
    struct lt_pg_parameters p;
    struct lt_pg_conninfo *c = read_url("postgresql://u@/d?host=/run/postgresql&port=6000", &p);
    cr_assert_str_eq(value_of(&p, "host"), "/run/postgresql");
    cr_assert_str_eq(value_of(&p, "hostaddr"), "");
    cr_assert_str_eq(value_of(&p, "port"), "6000");
    lt_pg_conninfo_free(c);
}

Test(postgres_conninfo, what_the_url_says_itself_stays) {
    struct lt_pg_parameters p;
    struct lt_pg_conninfo *c = read_url("postgres://name.invalid/d?hostaddr=127.0.0.1&gssencmode=prefer", &p);
    cr_assert_str_eq(value_of(&p, "host"), "name.invalid");
    cr_assert_str_eq(value_of(&p, "hostaddr"), "127.0.0.1");
    cr_assert_str_eq(value_of(&p, "gssencmode"), "prefer");
    lt_pg_conninfo_free(c);
}

Test(postgres_conninfo, wrong) {
    static const char *const wrong[] = {"postgres://h:x/d", "postgres://h:70000/d", "postgres://%zz@h/d",
                                        "postgres://h/d?nonsense=1", "postgres://a,b,c,d,e,f,g,h,i/d"};
    for (unsigned i = 0; i < sizeof wrong / sizeof *wrong; i++)
        cr_assert_not(lt_postgres_check(lt_span_cstr(wrong[i])), "%s", wrong[i]);
    cr_assert(lt_postgres_check(LT_S("postgres://h/d")));
    cr_assert(lt_postgres_check(LT_S("postgres://")));
}
