// SPDX-License-Identifier: Apache-2.0
// The affinity cookies of balancers and platforms (FACTS section 1), and how each product is told to stop.
#pragma once

#include "base/span.h"

// X(identifier, label of the metric, what turns it off)
#define STICKY_PRODUCTS(X)                                                                                             \
    X(AWS_ALB, "aws-alb", "target group attribute stickiness.enabled=false")                                           \
    X(AWS_ELB, "aws-elb", "delete the load balancer's cookie stickiness policy")                                       \
    X(GOOGLE, "google", "backend service: sessionAffinity NONE")                                                       \
    X(AZURE_ARR, "azure-arr", "App Service: clientAffinityEnabled=false")                                              \
    X(AZURE_GATEWAY, "azure-gateway", "Application Gateway backend setting: cookie-based affinity Disabled")           \
    X(AZURE_FRONT_DOOR, "azure-aslb", "Front Door origin group: sessionAffinityState Disabled")                        \
    X(CLOUDFLARE, "cloudflare", "load balancer: session_affinity none")                                                \
    X(AKAMAI, "akamai", "remove the load balancer's session stickiness behaviour")                                     \
    X(IMPERVA, "imperva", "load balancing settings: persistence off")                                                  \
    X(ORACLE, "oracle", "backend set: no session persistence")                                                         \
    X(ALIBABA, "alibaba", "listener: StickySession off")                                                               \
    X(DIGITALOCEAN, "digitalocean", "load balancer: sticky_sessions type none")                                        \
    X(HEROKU, "heroku", "heroku features:disable http-session-affinity")                                               \
    X(CLOUD_FOUNDRY, "cloud-foundry", "router: remove the app's cookie from sticky_session_cookie_names")              \
    X(INGRESS_NGINX, "ingress-nginx", "remove the annotation nginx.ingress.kubernetes.io/affinity")                    \
    X(TRAEFIK, "traefik", "service: remove loadBalancer.sticky")                                                       \
    X(CONTOUR, "contour", "HTTPProxy: loadBalancerPolicy strategy RoundRobin")                                         \
    X(CADDY, "caddy", "reverse_proxy: remove lb_policy cookie")                                                        \
    X(SOZU, "sozu", "cluster: sticky_session = false")                                                                 \
    X(YARP, "yarp", "cluster: SessionAffinity.Enabled false")                                                          \
    X(PASSENGER, "passenger", "passenger_sticky_sessions off")                                                         \
    X(APACHE, "apache", "ProxySet: remove stickysession, and the Header add Set-Cookie of the route")                  \
    X(F5, "f5-bigip", "virtual server: no cookie persistence profile")                                                 \
    X(NETSCALER, "netscaler", "lb vserver: persistenceType NONE")                                                      \
    X(BARRACUDA, "barracuda", "service: persistence type None")                                                        \
    X(A10, "a10", "remove the template persist cookie from the virtual port")                                          \
    X(CONFIGURED, "configured", "remove the cookie or stick directive that names it")

enum sticky_product {
#define X(id, label, off) PRODUCT_##id,
    STICKY_PRODUCTS(X)
#undef X
        PRODUCTS,
};

extern const char *const sticky_off[PRODUCTS];

// Whose affinity cookie is this? PRODUCTS: nobody's.
enum sticky_product sticky_product_of(struct lt_span name, struct lt_span value);
