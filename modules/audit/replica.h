// SPDX-License-Identifier: Apache-2.0
// Does a session id name the replica that made it?
#pragma once

#include "config/option.h"

struct replica_name {
    char separator;
    struct lt_span route; // empty: it names none
};

// `routes`: the option sticky.routes, cookies in which everything behind the first dot is a route (Tomcat, mod_proxy_balancer), and
// WebLogic's "!" and WebSphere's ":" are known as well. In others only what is no signature counts: ".node1" behind one plain id.
struct replica_name replica_name_of(struct lt_span cookie, struct lt_span value, const struct lt_option_list *routes);

// The value of ";jsessionid=" in a URL; empty: there is none.
struct lt_span replica_id_in_url(struct lt_span url);
