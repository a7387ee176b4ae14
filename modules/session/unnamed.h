// SPDX-License-Identifier: Apache-2.0
// Cookies that look like a session's and are not in session.cookies: they go to the client as they are, and nothing carries what they
// stand for. Guessed by name and value, so it is said and never acted upon. One table for the process.
#pragma once

#include "base/route.h"
#include "http/cookie.h"

#include <stdint.h>

enum { UNNAMED_ROWS = 8, UNNAMED_NAME = 64 };

struct unnamed {
    char name[UNNAMED_NAME], route[LT_ROUTE]; // the latest route
    uint64_t count;
};

// Does this cookie look like a session's: an id by its value, and a session's by its name, or because it ends with the browser and no script
// may read it or it is letters and digits alone? False where it holds the content itself (a JSON Web Token, a signed JSON) or is a known companion (CSRF, signatures).
bool unnamed_looks_like_session(const struct lt_set_cookie *c);

// From any thread. `path`: of the request. What is beyond the table is forgotten; the first of a name is logged.
void unnamed_note(struct lt_span name, struct lt_span path);

// Copies at most `max` rows; returns how many.
unsigned unnamed_look(struct unnamed *rows, unsigned max);

// For tests: an empty table.
void unnamed_reset(void);
