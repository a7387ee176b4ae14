// SPDX-License-Identifier: Apache-2.0
// Which cookies are an application's session cookies.
#pragma once

#include "config/option.h"

// The default of the option session.cookies: the frameworks whose sessions live in memory or in files (FACTS section 2).
#define SESSION_COOKIE_NAMES                                                                                           \
    "PHPSESSID, JSESSIONID, connect.sid, sessionId, koa.sid, koa.sid.sig, sails.sid, beegosessionID, session_id, "     \
    "sessionid, beaker.session.id, webpy_session_id, ASP.NET_SessionId, .AspNetCore.Session, plack_session, "          \
    "dancer.session, CGISESSID, rack.session, laravel_session, ci_session"

enum cookie_kind {
    COOKIE_OTHER, // not a session's: passes byte for byte
    COOKIE_ID,    // an id: a new value is a new session id (login), the client's token changes with it
    COOKIE_CARRIED, // an id where a carrier has the content (Rack's pool); else the content itself, or encrypted anew each time
    COOKIE_REISSUED, // of all cookies ("*"), no session's by name: kept in the jar, but a new value means nothing
};

// `names`: the option session.cookies: "name", "prefix*", or "*" for every cookie.
enum cookie_kind cookie_kind(struct lt_span name, const struct lt_option_list *names);
