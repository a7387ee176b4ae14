// SPDX-License-Identifier: Apache-2.0
// Cookies between client and application: what comes out of the request, what goes into it from the jar, what of the
// answer goes into the jar.
#pragma once

#include "module.h"
#include "modules/session/names.h"

// Takes our own cookies and the application's session cookies out of a request's Cookie fields; all others stay byte for byte, in
// order. The first value of the cookie `token_name` is returned in *token (a slice of the request; empty: none). False: no memory.
bool jar_strip_request(struct lt_h1_head *request, struct lt_arena *arena, const struct lt_option_list *names,
                       struct lt_span token_name, struct lt_span *token);

// Puts the jar's cookies that match the request's path into the Cookie field. False: no memory.
bool jar_restore(struct lt_h1_head *request, struct lt_arena *arena, const struct lt_record *record);

struct jar_changes {
    unsigned set, deleted; // session cookies in the answer
    bool moved;            // an id has a new value where the jar had another one
    bool failed;           // no memory, or the jar is full
};

// Takes the application's session cookies out of an answer and into `record`.
struct jar_changes jar_take_response(struct lt_h1_head *response, struct lt_record *record,
                                     const struct lt_option_list *names, int64_t now);

// Does the answer set or delete any session cookie?
bool jar_touched(const struct lt_h1_head *response, const struct lt_option_list *names);

// Takes ";jsessionid=…" out of the request's path, and out of an answer's Location. False: no memory.
bool jar_strip_path(struct lt_h1_head *request, struct lt_arena *arena);
bool jar_strip_location(struct lt_h1_head *response, struct lt_arena *arena);
