// SPDX-License-Identifier: Apache-2.0
#include "modules/sticky/products.h"

#include "http/chars.h"

const char *const sticky_off[PRODUCTS] = {
#define X(id, label, off) off,
    STICKY_PRODUCTS(X)
#undef X
};

static size_t run_of(struct lt_span s, size_t at, int what) {
    size_t n = 0;
    while (at + n < s.n && lt_char_is(s.p[at + n], what))
        n++;
    return n;
}

static bool is_hex(struct lt_span s, size_t n) {
    return s.n == n && run_of(s, 0, LT_CHAR_HEX) == n;
}

// Names that anybody might use count only when the value has the product's form.

// Alibaba: 32 hex, two times in seconds: "a6…|1700000000|1700000000".
static bool alibaba_value(struct lt_span v) {
    return v.n == 54 && is_hex(lt_span(v.p, 32), 32) && v.p[32] == '|' && run_of(v, 33, LT_CHAR_DIGIT) == 10 &&
           v.p[43] == '|' && run_of(v, 44, LT_CHAR_DIGIT) == 10;
}

// ingress-nginx: a hash, in newer ones behind "seconds.ms.worker.number|".
static bool route_value(struct lt_span v) {
    size_t bar = lt_span_find(v, '|');
    if (bar == v.n)
        return is_hex(v, 32) || is_hex(v, 40);
    size_t n = run_of(v, 0, LT_CHAR_DIGIT);
    return n == 10 && v.p[n] == '.' && is_hex(lt_span(v.p + bar + 1, v.n - bar - 1), 32);
}

// Caddy: an HMAC-SHA256.
static bool caddy_value(struct lt_span v) {
    return is_hex(v, 64);
}

// mod_proxy_balancer: "[id].route".
static bool apache_value(struct lt_span v) {
    size_t dot = lt_span_find(v, '.');
    return dot + 1 < v.n;
}

// Traefik: a hash of the server's URL, in older ones the URL.
static bool traefik_value(struct lt_span v) {
    return is_hex(v, 16) || is_hex(v, 40) || is_hex(v, 64) || lt_span_starts(v, LT_S("http"));
}

static const struct {
    struct lt_span name; // ending in "*": a prefix
    enum sticky_product product;
    bool (*value)(struct lt_span v); // NULL: any
} known[] = {
    {{"AWSALB", 6}, PRODUCT_AWS_ALB, NULL},
    {{"AWSALBCORS", 10}, PRODUCT_AWS_ALB, NULL},
    {{"AWSALBTG", 8}, PRODUCT_AWS_ALB, NULL},
    {{"AWSALBTGCORS", 12}, PRODUCT_AWS_ALB, NULL},
    {{"AWSALBAPP-0", 11}, PRODUCT_AWS_ALB, NULL},
    {{"AWSALBAPP-1", 11}, PRODUCT_AWS_ALB, NULL},
    {{"AWSALBAPP-2", 11}, PRODUCT_AWS_ALB, NULL},
    {{"AWSALBAPP-3", 11}, PRODUCT_AWS_ALB, NULL},
    {{"AWSELB", 6}, PRODUCT_AWS_ELB, NULL},
    {{"AWSELBCORS", 10}, PRODUCT_AWS_ELB, NULL},
    {{"GCLB", 4}, PRODUCT_GOOGLE, NULL},
    {{"GCILB", 5}, PRODUCT_GOOGLE, NULL},
    {{"ARRAffinity", 11}, PRODUCT_AZURE_ARR, NULL},
    {{"ARRAffinitySameSite", 19}, PRODUCT_AZURE_ARR, NULL},
    {{"ApplicationGatewayAffinity", 26}, PRODUCT_AZURE_GATEWAY, NULL},
    {{"ApplicationGatewayAffinityCORS", 30}, PRODUCT_AZURE_GATEWAY, NULL},
    {{"AGCAffinity", 11}, PRODUCT_AZURE_GATEWAY, NULL},
    {{"ASLBSA", 6}, PRODUCT_AZURE_FRONT_DOOR, NULL},
    {{"ASLBSACORS", 10}, PRODUCT_AZURE_FRONT_DOOR, NULL},
    {{"__cflb", 6}, PRODUCT_CLOUDFLARE, NULL},
    {{"akaalb_*", 8}, PRODUCT_AKAMAI, NULL},
    {{"nlbi_*", 6}, PRODUCT_IMPERVA, NULL},
    {{"X-Oracle-BMC-LBS-Route", 22}, PRODUCT_ORACLE, NULL},
    {{"SERVERID", 8}, PRODUCT_ALIBABA, alibaba_value},
    {{"SERVERCORSID", 12}, PRODUCT_ALIBABA, NULL},
    {{"DO-LB", 5}, PRODUCT_DIGITALOCEAN, NULL},
    {{"heroku-session-affinity", 23}, PRODUCT_HEROKU, NULL},
    {{"__VCAP_ID__", 11}, PRODUCT_CLOUD_FOUNDRY, NULL},
    {{"VCAP_ID", 7}, PRODUCT_CLOUD_FOUNDRY, NULL},
    {{"INGRESSCOOKIE", 13}, PRODUCT_INGRESS_NGINX, NULL},
    {{"route", 5}, PRODUCT_INGRESS_NGINX, route_value},
    {{"X-Contour-Session-Affinity", 26}, PRODUCT_CONTOUR, NULL},
    {{"lb", 2}, PRODUCT_CADDY, caddy_value},
    {{"SOZUBALANCEID", 13}, PRODUCT_SOZU, NULL},
    {{".Yarp.ReverseProxy.Affinity", 27}, PRODUCT_YARP, NULL},
    {{"_passenger_route", 16}, PRODUCT_PASSENGER, NULL},
    {{"ROUTEID", 7}, PRODUCT_APACHE, apache_value},
    {{"BALANCEID", 9}, PRODUCT_APACHE, NULL},
    {{"BIGipServer*", 12}, PRODUCT_F5, NULL},
    {{"NSC_*", 5}, PRODUCT_NETSCALER, NULL},
    {{"BNI__BARRACUDA_LB_COOKIE", 24}, PRODUCT_BARRACUDA, NULL},
    {{"BNI_persistence", 15}, PRODUCT_BARRACUDA, NULL},
    {{"sto-id-*", 8}, PRODUCT_A10, NULL},
};

// The first characters of all names above and below: most cookies of an application begin otherwise.
static const char begins[] = "ABDGINRSVX._ahlnrs";

static bool name_is(struct lt_span name, struct lt_span pattern) {
    if (pattern.p[pattern.n - 1] == '*')
        return name.n >= pattern.n && lt_span_starts(name, lt_span(pattern.p, pattern.n - 1));
    return lt_span_eq(name, pattern);
}

enum sticky_product sticky_product_of(struct lt_span name, struct lt_span value) {
    if (name.n == 0 || !strchr(begins, name.p[0]))
        return PRODUCTS;
    for (unsigned i = 0; i < sizeof known / sizeof *known; i++)
        if (name.p[0] == known[i].name.p[0] && name_is(name, known[i].name) && (!known[i].value || known[i].value(value)))
            return known[i].product;
    if (name.n == 6 && name.p[0] == '_' && run_of(name, 1, LT_CHAR_HEX) == 5 && traefik_value(value))
        return PRODUCT_TRAEFIK;
    // OpenShift's shape, 32 hex for name and value, is also that of Joomla's session: taken out only where sticky.cookies names it.
    return PRODUCTS;
}
