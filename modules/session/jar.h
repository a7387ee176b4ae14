// SPDX-License-Identifier: Apache-2.0
// Cookies between client and application: what comes out of the request, what goes into it from the jar, what of the
// answer goes into the jar.
#pragma once

#include "module.h"
#include "modules/session/client.h"
#include "modules/session/names.h"

enum { JAR_CHANGES = 16 }; // session cookies of one answer

// Takes the application's session cookies and our own (`cookie_name` and its further parts, plain and with the __Host- prefix) out of a
// request's Cookie fields; all others stay byte for byte, in order. The first value of each part of ours in the spelling that counts
// (`secure`: the prefixed one) is returned in *cookie (slices of the request). False: no memory.
bool jar_strip_request(struct lt_h1_head *request, struct lt_arena *arena, const struct lt_option_list *names,
                       struct lt_span cookie_name, bool secure, struct client_cookie *cookie);

// Puts the jar's cookies that match the request's path into the Cookie field. False: no memory.
bool jar_restore(struct lt_h1_head *request, struct lt_arena *arena, const struct lt_record *record);

// The session cookies that an answer sets or deletes, taken out of it; slices of the answer.
struct jar_changes {
    struct lt_set_cookie v[JAR_CHANGES];
    unsigned n;
    bool overflow; // there were more
};
void jar_take_response(struct lt_h1_head *response, const struct lt_option_list *names, struct jar_changes *changes);

struct jar_result {
    unsigned set, deleted; // cookies
    bool moved;            // an id has a new value where the jar had another one
    bool failed;           // no memory, or the jar is full
};

// Brings the changes into a record. `carried`: a state carrier is in use (see COOKIE_CARRIED).
struct jar_result jar_apply(const struct jar_changes *changes, struct lt_record *record,
                            const struct lt_option_list *names, bool carried, int64_t now);

// When the last of the jar's cookies that outlive the browser ends (wall ms); 0: none does.
int64_t jar_persists_until(const struct lt_record *record);

// Takes ";jsessionid=…" out of the request's path, and out of an answer's Location. False: no memory.
bool jar_strip_path(struct lt_h1_head *request, struct lt_arena *arena);
bool jar_strip_location(struct lt_h1_head *response, struct lt_arena *arena);
