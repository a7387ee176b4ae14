// SPDX-License-Identifier: Apache-2.0
// Which cookies are an application's session cookies.
#pragma once

#include "config/option.h"

enum cookie_kind {
    COOKIE_OTHER,    // not a session's: passes byte for byte
    COOKIE_ID,       // an id: a new value is a new session id (login), the client's token changes with it
    COOKIE_REISSUED, // set anew by every answer, or no plain id: kept in the jar, but a new value means nothing
};

// `extra`: the option session.cookies; the entry "*" takes in every cookie. "name" or "prefix*".
enum cookie_kind cookie_kind(struct lt_span name, const struct lt_option_list *extra);
