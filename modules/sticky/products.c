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
    const char *name; // ending in "*": a prefix
    enum sticky_product product;
    bool (*value)(struct lt_span v); // NULL: any
} known[] = {
    {"AWSALB", PRODUCT_AWS_ALB, NULL},
    {"AWSALBCORS", PRODUCT_AWS_ALB, NULL},
    {"AWSALBTG", PRODUCT_AWS_ALB, NULL},
    {"AWSALBTGCORS", PRODUCT_AWS_ALB, NULL},
    {"AWSALBAPP-0", PRODUCT_AWS_ALB, NULL},
    {"AWSALBAPP-1", PRODUCT_AWS_ALB, NULL},
    {"AWSALBAPP-2", PRODUCT_AWS_ALB, NULL},
    {"AWSALBAPP-3", PRODUCT_AWS_ALB, NULL},
    {"AWSELB", PRODUCT_AWS_ELB, NULL},
    {"AWSELBCORS", PRODUCT_AWS_ELB, NULL},
    {"GCLB", PRODUCT_GOOGLE, NULL},
    {"GCILB", PRODUCT_GOOGLE, NULL},
    {"ARRAffinity", PRODUCT_AZURE_ARR, NULL},
    {"ARRAffinitySameSite", PRODUCT_AZURE_ARR, NULL},
    {"ApplicationGatewayAffinity", PRODUCT_AZURE_GATEWAY, NULL},
    {"ApplicationGatewayAffinityCORS", PRODUCT_AZURE_GATEWAY, NULL},
    {"AGCAffinity", PRODUCT_AZURE_GATEWAY, NULL},
    {"ASLBSA", PRODUCT_AZURE_FRONT_DOOR, NULL},
    {"ASLBSACORS", PRODUCT_AZURE_FRONT_DOOR, NULL},
    {"__cflb", PRODUCT_CLOUDFLARE, NULL},
    {"akaalb_*", PRODUCT_AKAMAI, NULL},
    {"nlbi_*", PRODUCT_IMPERVA, NULL},
    {"X-Oracle-BMC-LBS-Route", PRODUCT_ORACLE, NULL},
    {"SERVERID", PRODUCT_ALIBABA, alibaba_value},
    {"SERVERCORSID", PRODUCT_ALIBABA, NULL},
    {"DO-LB", PRODUCT_DIGITALOCEAN, NULL},
    {"heroku-session-affinity", PRODUCT_HEROKU, NULL},
    {"__VCAP_ID__", PRODUCT_CLOUD_FOUNDRY, NULL},
    {"VCAP_ID", PRODUCT_CLOUD_FOUNDRY, NULL},
    {"INGRESSCOOKIE", PRODUCT_INGRESS_NGINX, NULL},
    {"route", PRODUCT_INGRESS_NGINX, route_value},
    {"X-Contour-Session-Affinity", PRODUCT_CONTOUR, NULL},
    {"lb", PRODUCT_CADDY, caddy_value},
    {"SOZUBALANCEID", PRODUCT_SOZU, NULL},
    {".Yarp.ReverseProxy.Affinity", PRODUCT_YARP, NULL},
    {"_passenger_route", PRODUCT_PASSENGER, NULL},
    {"ROUTEID", PRODUCT_APACHE, apache_value},
    {"BALANCEID", PRODUCT_APACHE, NULL},
    {"BIGipServer*", PRODUCT_F5, NULL},
    {"NSC_*", PRODUCT_NETSCALER, NULL},
    {"BNI__BARRACUDA_LB_COOKIE", PRODUCT_BARRACUDA, NULL},
    {"BNI_persistence", PRODUCT_BARRACUDA, NULL},
    {"sto-id-*", PRODUCT_A10, NULL},
};

static bool name_is(struct lt_span name, struct lt_span pattern) {
    if (pattern.p[pattern.n - 1] == '*')
        return name.n >= pattern.n && lt_span_starts(name, lt_span(pattern.p, pattern.n - 1));
    return lt_span_eq(name, pattern);
}

enum sticky_product sticky_product_of(struct lt_span name, struct lt_span value) {
    for (unsigned i = 0; i < sizeof known / sizeof *known; i++)
        if (name_is(name, lt_span_cstr(known[i].name)) && (!known[i].value || known[i].value(value)))
            return known[i].product;
    if (name.n == 6 && name.p[0] == '_' && run_of(name, 1, LT_CHAR_HEX) == 5 && traefik_value(value))
        return PRODUCT_TRAEFIK;
    // OpenShift's shape, 32 hex for name and value, is also that of Joomla's session: taken out only where sticky.cookies names it.
    return PRODUCTS;
}
