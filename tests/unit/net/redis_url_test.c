// SPDX-License-Identifier: Apache-2.0
#include "net/redis_url.h"

#include <criterion/criterion.h>

static struct lt_arena arena;
static struct lt_redis_place place;
static const char *advice;

static bool parse(const char *url) {
    lt_arena_fini(&arena);
    lt_arena_init(&arena, 16384);
    return lt_redis_url(lt_span_cstr(url), &arena, &place, &advice);
}

static void expect(struct lt_span found, const char *text) {
    cr_expect(lt_span_eq(found, lt_span_cstr(text)), "%.*s, not %s", (int)found.n, found.n ? found.p : "", text);
}

static void fini(void) {
    lt_arena_fini(&arena);
}

TestSuite(redis_url, .fini = fini);

Test(redis_url, one_server) {
    cr_assert(parse("redis://h"));
    cr_expect(place.kind == LT_REDIS_SINGLE && !place.tls && place.n_seeds == 1 && place.database == 0);
    expect(place.seeds[0], "h:6379");
    expect(place.user, "");
    expect(place.password, "");
    cr_assert(parse("redis://shop:p%40ss%3Aw%2Frd@[::1]:7000/15"));
    expect(place.seeds[0], "[::1]:7000");
    expect(place.user, "shop");
    expect(place.password, "p@ss:w/rd");
    cr_expect_eq(place.database, 15);
    cr_assert(parse("rediss://:secret@db.example/"));
    cr_expect(place.tls && place.kind == LT_REDIS_SINGLE);
    expect(place.user, "");
    expect(place.password, "secret");
}

Test(redis_url, unix_socket) {
    cr_assert(parse("redis+unix:///run/redis.sock?db=3"));
    expect(place.seeds[0], "unix:/run/redis.sock");
    cr_expect(place.kind == LT_REDIS_SINGLE && place.database == 3);
}

Test(redis_url, sentinel) {
    cr_assert(parse("redis+sentinel://u:p@a:1,b,[::1]:3/my%20master/7"));
    cr_expect(place.kind == LT_REDIS_SENTINEL && !place.tls && place.n_seeds == 3 && place.database == 7);
    expect(place.seeds[0], "a:1");
    expect(place.seeds[1], "b:26379");
    expect(place.seeds[2], "[::1]:3");
    expect(place.master, "my master");
    expect(place.user, "u");
    cr_assert(parse("rediss+sentinel://a/m"));
    cr_expect(place.tls && place.database == 0);
    expect(place.master, "m");
}

Test(redis_url, cluster) {
    cr_assert(parse("redis+cluster://a:1,b:2/"));
    cr_expect(place.kind == LT_REDIS_CLUSTER && place.n_seeds == 2);
    cr_assert(parse("rediss+cluster://:p@a"));
    cr_expect(place.kind == LT_REDIS_CLUSTER && place.tls && place.n_seeds == 1);
    expect(place.seeds[0], "a:6379");
}

Test(redis_url, what_is_wrong_is_said_for_its_scheme) {
    static const struct {
        const char *url, *word;
    } wrong[] = {
        {"", "redis://host"},
        {"http://h", "redis://host"},
        {"redis://", "redis://host"},
        {"redis://a:1,b:2/0", "redis://host"},
        {"redis://h/65536", "redis://host"},
        {"redis://h/x", "redis://host"},
        {"redis://u@h", "redis://user:password"},
        {"redis://u:%zz@h", "redis://user:password"},
        {"redis://h:70000", "redis://host"},
        {"rediss://", "rediss://host"},
        {"redis+unix://relative", "redis+unix:///path"},
        {"redis+unix:///s?db=x", "redis+unix:///path"},
        {"redis+sentinel://a:1", "/mymaster/0"},
        {"redis+sentinel://a:1/", "/mymaster/0"},
        {"redis+sentinel://a:1,/m", "/mymaster/0"},
        {"redis+sentinel://a:1/m/x", "/mymaster/0"},
        {"redis+cluster://a:1/0", "has no databases"},
        {"redis+cluster://,a:1/", "host1:6379"},
        {"redis+cluster://a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a", "host1:6379"},
    };
    for (unsigned i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        cr_expect_not(parse(wrong[i].url), "%s", wrong[i].url);
        cr_expect(strstr(advice, wrong[i].word) != NULL, "%s: %s", wrong[i].url, advice);
    }
}
