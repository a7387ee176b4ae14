// SPDX-License-Identifier: Apache-2.0
// Cookies as the wire has them (RFC 6265): read leniently like every server does, passed on byte for byte.
#pragma once

#include "base/arena.h"

#include <stdint.h>

struct lt_cookie {
    struct lt_span name,
        value;          // value as it stands, quotes included; a piece without "=" has name.n == 0 and is all value
    struct lt_span raw; // the piece from its first to its last non-space byte
};

// Takes the next piece (separated by ";") off `*header`, the value of a Cookie field. False when none is left.
// Empty pieces are skipped.
bool lt_cookie_next(struct lt_span *header, struct lt_cookie *c);

enum lt_same_site { LT_SAME_SITE_UNSET, LT_SAME_SITE_LAX, LT_SAME_SITE_STRICT, LT_SAME_SITE_NONE };

struct lt_set_cookie {
    struct lt_span name, value;
    struct lt_span path,
        domain; // "" when absent; path must begin with "/" or counts as absent; domain without a leading dot
    bool has_max_age, has_expires;
    int64_t max_age; // seconds; <= 0 deletes
    int64_t expires; // milliseconds since 1970
    bool secure, http_only;
    enum lt_same_site same_site;
};

// Parses the value of a Set-Cookie field (RFC 6265 section 5.2; unknown attributes are passed over, the last of a doubled
// attribute counts). False: it has no name.
bool lt_set_cookie_parse(struct lt_span value, struct lt_set_cookie *c);

// Does this Set-Cookie delete the cookie, at wall-clock time `now` (ms)? Max-Age wins over Expires.
bool lt_set_cookie_deletes(const struct lt_set_cookie *c, int64_t now);

// RFC 6265 section 5.1.4: would a cookie with this path be sent with a request for `request_path` (query ignored)?
// An empty cookie path matches everything.
bool lt_cookie_path_match(struct lt_span cookie_path, struct lt_span request_path);

// An HTTP date or a cookie date (RFC 6265 section 5.1.1, so also the dashes and two-digit years of old servers), to
// milliseconds since 1970. False: not a date.
bool lt_cookie_date(struct lt_span text, int64_t *ms);

// May `name` be a cookie's name (a token)? and `value` a cookie's value (RFC 6265 section 4.1.1 cookie-octets)?
bool lt_cookie_name_ok(struct lt_span name);
bool lt_cookie_value_ok(struct lt_span value);
