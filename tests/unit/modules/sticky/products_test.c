// SPDX-License-Identifier: Apache-2.0
// Every row of FACTS section 1, and what must not be taken for one.
#include "modules/sticky/products.h"

#include "tests/rig/leaks.h"

#include <criterion/criterion.h>

TestSuite(products, .fini = lt_rig_leaks);

#define HEX16 "0123456789abcdef"
#define HEX32 HEX16 HEX16
#define HEX40 HEX32 "01234567"
#define HEX64 HEX32 HEX32

struct row {
    const char *name, *value;
    enum sticky_product product;
};

static void check(const struct row *rows, size_t n) {
    for (size_t i = 0; i < n; i++) {
        enum sticky_product p = sticky_product_of(lt_span_cstr(rows[i].name), lt_span_cstr(rows[i].value));
        cr_assert_eq(p, rows[i].product, "%s=%s: %d", rows[i].name, rows[i].value, (int)p);
    }
}

#define CHECK(rows) check((rows), sizeof(rows) / sizeof *(rows))

Test(products, by_name) {
    static const struct row rows[] = {
        {"AWSALB", "", PRODUCT_AWS_ALB},
        {"AWSALBCORS", "x", PRODUCT_AWS_ALB},
        {"AWSALBTG", "x", PRODUCT_AWS_ALB},
        {"AWSALBTGCORS", "x", PRODUCT_AWS_ALB},
        {"AWSALBAPP-0", "_remove_", PRODUCT_AWS_ALB},
        {"AWSALBAPP-1", "_remove_", PRODUCT_AWS_ALB},
        {"AWSALBAPP-2", "_remove_", PRODUCT_AWS_ALB},
        {"AWSALBAPP-3", "_remove_", PRODUCT_AWS_ALB},
        {"AWSELB", "x", PRODUCT_AWS_ELB},
        {"AWSELBCORS", "x", PRODUCT_AWS_ELB},
        {"GCLB", "x", PRODUCT_GOOGLE},
        {"GCILB", "x", PRODUCT_GOOGLE},
        {"ARRAffinity", "x", PRODUCT_AZURE_ARR},
        {"ARRAffinitySameSite", "x", PRODUCT_AZURE_ARR},
        {"ApplicationGatewayAffinity", "x", PRODUCT_AZURE_GATEWAY},
        {"ApplicationGatewayAffinityCORS", "x", PRODUCT_AZURE_GATEWAY},
        {"AGCAffinity", "x", PRODUCT_AZURE_GATEWAY},
        {"ASLBSA", "x", PRODUCT_AZURE_FRONT_DOOR},
        {"ASLBSACORS", "x", PRODUCT_AZURE_FRONT_DOOR},
        {"__cflb", "x", PRODUCT_CLOUDFLARE},
        {"akaalb_www", "x", PRODUCT_AKAMAI},
        {"nlbi_12", "x", PRODUCT_IMPERVA},
        {"X-Oracle-BMC-LBS-Route", "x", PRODUCT_ORACLE},
        {"SERVERCORSID", "x", PRODUCT_ALIBABA},
        {"DO-LB", "x", PRODUCT_DIGITALOCEAN},
        {"heroku-session-affinity", "x", PRODUCT_HEROKU},
        {"__VCAP_ID__", "x", PRODUCT_CLOUD_FOUNDRY},
        {"VCAP_ID", "x", PRODUCT_CLOUD_FOUNDRY},
        {"INGRESSCOOKIE", "x", PRODUCT_INGRESS_NGINX},
        {"X-Contour-Session-Affinity", "x", PRODUCT_CONTOUR},
        {"SOZUBALANCEID", "x", PRODUCT_SOZU},
        {".Yarp.ReverseProxy.Affinity", "x", PRODUCT_YARP},
        {"_passenger_route", "x", PRODUCT_PASSENGER},
        {"BALANCEID", "x", PRODUCT_APACHE},
        {"BIGipServer~Common~pool", "x", PRODUCT_F5},
        {"NSC_mc", "x", PRODUCT_NETSCALER},
        {"BNI__BARRACUDA_LB_COOKIE", "x", PRODUCT_BARRACUDA},
        {"BNI_persistence", "x", PRODUCT_BARRACUDA},
        {"sto-id-47873", "x", PRODUCT_A10},
    };
    CHECK(rows);
}

Test(products, by_name_and_form_of_the_value) {
    static const struct row rows[] = {
        {"SERVERID", HEX32 "|1700000000|1700000001", PRODUCT_ALIBABA},
        {"route", HEX32, PRODUCT_INGRESS_NGINX},
        {"route", HEX40, PRODUCT_INGRESS_NGINX},
        {"route", "1700000000.123.45.678901|" HEX32, PRODUCT_INGRESS_NGINX},
        {"lb", HEX64, PRODUCT_CADDY},
        {"ROUTEID", ".node1", PRODUCT_APACHE},
        {"ROUTEID", "x.node1", PRODUCT_APACHE},
        {"_1d52e", HEX16, PRODUCT_TRAEFIK},
        {"_1D52E", HEX40, PRODUCT_TRAEFIK},
        {"_1d52e", HEX64, PRODUCT_TRAEFIK},
        {"_1d52e", "http://10.42.0.5:80", PRODUCT_TRAEFIK},
    };
    CHECK(rows);
}

Test(products, nobody) {
    static const struct row rows[] = {
        {"", "", PRODUCTS},
        {HEX32, HEX32, PRODUCTS}, // OpenShift's, or Joomla's session
        {"", HEX32, PRODUCTS},
        {"awsalb", "x", PRODUCTS}, // cookies' names have case
        {"AWSALBX", "x", PRODUCTS},
        {"XAWSALB", "x", PRODUCTS},
        {"AWSALBAPP-4", "x", PRODUCTS},
        {"akaalb_", "x", PRODUCTS}, // a prefix has something behind it
        {"NSC_", "x", PRODUCTS},
        {"BIGipServer", "x", PRODUCTS},
        {"sto-id-", "x", PRODUCTS},
        {"SERVERID", "s1", PRODUCTS},
        {"SERVERID", HEX32 "|1700000000|170000000", PRODUCTS},
        {"SERVERID", HEX32 "|1700000000|170000000x", PRODUCTS},
        {"SERVERID", HEX32 "x1700000000|1700000001", PRODUCTS},
        {"SERVERID", HEX32 "|1700000000x1700000001", PRODUCTS},
        {"SERVERID", "g123456789abcdef" HEX16 "|1700000000|1700000001", PRODUCTS},
        {"route", "", PRODUCTS},
        {"route", "home", PRODUCTS},
        {"route", HEX32 "0", PRODUCTS},
        {"route", "|" HEX32, PRODUCTS},
        {"route", "170000000.1|" HEX32, PRODUCTS},
        {"route", "1700000000|" HEX32, PRODUCTS},
        {"route", "1700000000.1|" HEX40, PRODUCTS},
        {"lb", HEX40, PRODUCTS},
        {"lb", HEX64 "0", PRODUCTS},
        {"ROUTEID", "7", PRODUCTS},
        {"ROUTEID", "7.", PRODUCTS},
        {"_1d52e", "x", PRODUCTS},
        {"_1d52", HEX16, PRODUCTS},
        {"_1d52g", HEX16, PRODUCTS},
        {"x1d52e", HEX16, PRODUCTS},
        {"_1d52ef", HEX16, PRODUCTS},
        {"_1d52ex", HEX16, PRODUCTS},
        {HEX32, HEX16, PRODUCTS},
        {HEX32, HEX32 "0", PRODUCTS},
        {HEX16, HEX32, PRODUCTS},
        {HEX32 "0", HEX32, PRODUCTS},
        {"JSESSIONID", "ABC.node1", PRODUCTS},
        {"PHPSESSID", HEX32, PRODUCTS},
    };
    CHECK(rows);
}

Test(products, each_is_told_how_to_stop) {
    for (unsigned i = 0; i < PRODUCTS; i++)
        cr_assert(sticky_off[i] && strlen(sticky_off[i]) > 10, "%u", i);
}
