// SPDX-License-Identifier: Apache-2.0
#include "modules/sticky/sticky.h"

#include "config/pattern.h"
#include "http/cookie_edit.h"
#include "modules/sticky/products.h"

#include <pthread.h>
#include <stdatomic.h>

enum side { REQUEST, RESPONSE, SIDES };
enum { ROUTE_MAX = 64 };

struct sticky_conf {
    struct lt_option_list cookies, routes;
    struct lt_span route;
    bool enabled;
};

struct sticky_call {
    bool azure; // the request carried an ARRAffinity cookie
};

// --- routes ---

// How the application beside this lethe names itself in session ids; learned from its answers, by all workers alike.
static struct {
    pthread_mutex_t lock;
    char text[ROUTE_MAX + 1];
} learned = {.lock = PTHREAD_MUTEX_INITIALIZER};

static void learn(struct lt_span route) {
    if (route.n == 0 || route.n > ROUTE_MAX)
        return;
    pthread_mutex_lock(&learned.lock);
    memcpy(learned.text, route.p, route.n);
    learned.text[route.n] = '\0';
    pthread_mutex_unlock(&learned.lock);
}

// This instance's route, in the arena; empty: not known yet.
static struct lt_span own_route(struct lt_call *c) {
    const struct sticky_conf *conf = c->conf;
    char text[ROUTE_MAX + 1];
    if (conf->route.n)
        return conf->route;
    pthread_mutex_lock(&learned.lock);
    memcpy(text, learned.text, sizeof text);
    pthread_mutex_unlock(&learned.lock);
    return lt_arena_dup(lt_call_arena(c), lt_span_cstr(text));
}

// The session id comes back with the route of the instance that serves it now: Tomcat, for one, looks the whole up.
static bool give_route(struct lt_call *c, struct lt_header *f) {
    const struct sticky_conf *conf = c->conf;
    struct lt_span rest = f->value;
    struct lt_cookie cookie;
    while (lt_cookie_next(&rest, &cookie)) {
        struct lt_span v = cookie.value;
        if (!lt_pattern_list_matches(&conf->routes, cookie.name) || v.n == 0 || lt_span_find(v, '.') < v.n)
            continue;
        struct lt_span route = own_route(c);
        if (route.n == 0)
            return route.p != NULL;
        size_t end = (size_t)(v.p + v.n - f->value.p);
        struct lt_span all = LT_JOIN(lt_call_arena(c), lt_span(f->value.p, end), LT_S("."), route,
                                     lt_span(f->value.p + end, f->value.n - end));
        if (!all.p)
            return false;
        lt_header_set(f, all);
        rest = lt_span(all.p + end + 1 + route.n, all.n - end - 1 - route.n);
    }
    return true;
}

// "ABC.node1; Path=/" goes on as "ABC; Path=/".
static bool take_route(struct lt_call *c, struct lt_header *f, struct lt_span value) {
    size_t dot = lt_span_find(value, '.'), begin = (size_t)(value.p - f->value.p);
    if (dot == value.n)
        return true;
    learn(lt_span(value.p + dot + 1, value.n - dot - 1));
    size_t end = begin + value.n;
    struct lt_span all =
        LT_JOIN(lt_call_arena(c), lt_span(f->value.p, begin + dot), lt_span(f->value.p + end, f->value.n - end));
    if (all.p)
        lt_header_set(f, all);
    return all.p != NULL;
}

// --- affinity cookies ---

static enum sticky_product product_of(const struct lt_call *c, struct lt_span name, struct lt_span value) {
    const struct sticky_conf *conf = c->conf;
    return lt_pattern_list_matches(&conf->cookies, name) ? PRODUCT_CONFIGURED : sticky_product_of(name, value);
}

static void count(struct lt_call *c, enum sticky_product product, enum side side) {
    lt_metric_add(c->metrics, (unsigned)product * SIDES + side, 1);
}

// On a request it is the balancer in front that makes clients stick; lethe cannot stop that, its operator can.
static void tell_once(struct lt_call *c, enum sticky_product product, struct lt_span name) {
    static atomic_bool told[PRODUCTS];
    if (!atomic_exchange(&told[product], true))
        LT_LOG(LT_LOG_WARN, "sticky_balancer", lt_f("id", lt_call_id(c)), lt_f("cookie", name),
               lt_fs("why", "a balancer in front sets an affinity cookie"), lt_fs("do", sticky_off[product]));
}

static bool keep(const struct lt_cookie *cookie, void *user) {
    struct lt_call *c = user;
    struct sticky_call *st = c->state;
    enum sticky_product product = product_of(c, cookie->name, cookie->value);
    if (product == PRODUCTS)
        return true;
    st->azure = st->azure || product == PRODUCT_AZURE_ARR;
    count(c, product, REQUEST);
    tell_once(c, product, cookie->name);
    return false;
}

static enum lt_verdict on_request(struct lt_call *c) {
    struct lt_headers *h = &lt_call_request(c)->headers;
    bool ok = lt_cookies_filter(h, lt_call_arena(c), keep, c);
    for (struct lt_header *f = NULL; ok && (f = lt_headers_next(h, LT_HDR_COOKIE, f));)
        ok = give_route(c, f);
    return ok ? LT_NEXT : lt_call_fail(c, 503, "memory");
}

static enum lt_verdict on_response(struct lt_call *c) {
    const struct sticky_conf *conf = c->conf;
    const struct sticky_call *st = c->state;
    struct lt_headers *h = &lt_call_response(c)->headers;
    bool ok = true;
    for (struct lt_header *f = NULL; ok && (f = lt_headers_next(h, LT_HDR_SET_COOKIE, f));) {
        struct lt_set_cookie cookie;
        if (!lt_set_cookie_parse(f->value, &cookie))
            continue;
        enum sticky_product product = product_of(c, cookie.name, cookie.value);
        if (product != PRODUCTS) {
            f->dropped = true;
            count(c, product, RESPONSE);
        } else if (lt_pattern_list_matches(&conf->routes, cookie.name)) {
            ok = take_route(c, f, cookie.value);
        }
    }
    static const struct lt_span azure_off = {"Arr-Disable-Session-Affinity", 28};
    if (st->azure && !lt_headers_find(h, azure_off)) // the application's own way to opt out
        ok = ok && lt_headers_add(h, azure_off, LT_S("True"));
    return ok ? LT_NEXT : lt_call_fail(c, 503, "memory");
}

static bool enabled(const void *conf) {
    return ((const struct sticky_conf *)conf)->enabled;
}

// "name" or "prefix*".
static const char *check_name(struct lt_span name) {
    struct lt_span bare = name.n && name.p[name.n - 1] == '*' ? lt_span(name.p, name.n - 1) : name;
    return lt_token_ok(bare) ? NULL : "write a cookie's name, or \"prefix*\"";
}

static const char *check_route(struct lt_span route) {
    return lt_cookie_value_ok(route) && route.n <= ROUTE_MAX
               ? NULL
               : "write the instance's route, up to 64 characters such as \"node1\"";
}

#define AT(field) offsetof(struct sticky_conf, field)

// One row an option.
// clang-format off
static const struct lt_option options[] = {
    {.name = "cookies",
     .type = LT_OPT_LIST,
     .offset = AT(cookies),
     .fallback = "",
     .max = 64,
     .unit = "names",
     .check = check_name,
     .doc = "Affinity cookies besides the known ones: `SERVERID`, or a prefix `lb_*`. HAProxy, nginx, Envoy and Istio "
            "name theirs as they are told to."},
    {.name = "routes",
     .type = LT_OPT_LIST,
     .offset = AT(routes),
     .fallback = "JSESSIONID",
     .max = 16,
     .unit = "names",
     .check = check_name,
     .doc = "Session cookies that carry a route behind a dot (`ABC.node1`): it is cut off on the way out, and the "
            "serving instance's own is put back."},
    {.name = "route",
     .type = LT_OPT_STRING,
     .offset = AT(route),
     .fallback = "",
     .unit = "text",
     .check = check_route,
     .doc = "The route of the application beside this lethe (Tomcat's `jvmRoute`). Empty: learned from its answers."},
    {.name = "enabled",
     .type = LT_OPT_BOOL,
     .offset = AT(enabled),
     .fallback = "true",
     .doc = "`false` leaves affinity cookies alone."},
};
// clang-format on

#define ROW(label, side)                                                                                               \
    {"lethe_sticky_stripped_total", "Affinity cookies taken out.", LT_COUNTER,                                         \
     "product=\"" label "\",side=\"" side "\""},

static const struct lt_metric metrics[] = {
#define X(id, label, off) ROW(label, "request") ROW(label, "response")
    STICKY_PRODUCTS(X)
#undef X
};

static void examine(struct lt_exam *e) {
    static const char *const labels[] = {
#define X(id, label, off) label,
        STICKY_PRODUCTS(X)
#undef X
    };
    for (unsigned p = 0; p < PRODUCTS; p++) {
        unsigned long long in = lt_exam_total(e, p * SIDES + REQUEST), out = lt_exam_total(e, p * SIDES + RESPONSE);
        if (in) {
            lt_exam_found(
                e,
                &(struct lt_found){.breaks = LT_REQ_STICKY, .remedy = sticky_off[p], .example = labels[p], .count = in},
                "the balancer in front is still sticky: affinity cookies of %s came with requests", labels[p]);
            lt_exam_number(e, "stripped_request", labels[p], in);
        }
        if (out) {
            lt_exam_note(e, "%llu affinity cookies of %s were taken out of answers", out, labels[p]);
            lt_exam_number(e, "stripped_response", labels[p], out);
        }
    }
    if (e->used && e->requests)
        lt_exam_kept(
            e, LT_REQ_STICKY,
            "no affinity cookie came with %llu requests; a balancer that sticks by the client's address leaves no "
            "trace in a request, and is not watched",
            (unsigned long long)e->requests);
    else if (e->used)
        lt_exam_unsure(e, LT_REQ_STICKY, "send traffic through the balancer", "no request has come yet");
}

const struct lt_module lt_module_sticky = {
    .name = "sticky",
    .summary = "takes affinity cookies and routes out of the traffic",
    .phase = LT_PHASE_AFFINITY,
    .options = {"sticky", options, sizeof options / sizeof *options, sizeof(struct sticky_conf), NULL},
    .metrics = metrics,
    .n_metrics = sizeof metrics / sizeof *metrics,
    .state_size = sizeof(struct sticky_call),
    .enabled = enabled,
    .on_request = on_request,
    .on_response = on_response,
    .examine = examine,
};
