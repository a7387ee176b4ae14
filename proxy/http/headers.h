// SPDX-License-Identifier: Apache-2.0
// A table of header fields: slices of the read buffer for what came in, arena text for what was added.
// Nothing is copied or moved while a message passes through unchanged.
#pragma once

#include "base/arena.h"

#include <stdint.h>

// The names that lethe itself acts on. Everything else is LT_HDR_OTHER and is compared by name.
enum lt_hdr {
    LT_HDR_OTHER,
    LT_HDR_HOST,
    LT_HDR_CONTENT_LENGTH,
    LT_HDR_TRANSFER_ENCODING,
    LT_HDR_CONNECTION,
    LT_HDR_KEEP_ALIVE,
    LT_HDR_PROXY_CONNECTION,
    LT_HDR_TE,
    LT_HDR_TRAILER,
    LT_HDR_UPGRADE,
    LT_HDR_EXPECT,
    LT_HDR_COOKIE,
    LT_HDR_SET_COOKIE,
    LT_HDR_LOCATION,
    LT_HDR_CONTENT_TYPE,
    LT_HDR_FORWARDED,
    LT_HDR_X_FORWARDED_FOR,
    LT_HDR_X_FORWARDED_PROTO,
    LT_HDR_X_FORWARDED_HOST,
    LT_HDR_X_REQUEST_ID,
    LT_HDR_TRACEPARENT,
    LT_HDR_VIA,
    LT_HDR_DATE,
    LT_HDR_COUNT,
};

struct lt_header {
    struct lt_span name, value; // value without the surrounding OWS; it may be empty
    struct lt_span raw;         // the whole line with its CRLF as it stands in the read buffer; .p NULL when added
    uint8_t id;                 // enum lt_hdr
    bool dropped;               // not written
};

struct lt_headers {
    struct lt_header *v; // in the order of arrival, added ones behind
    unsigned n, cap;     // cap names the maximum; reaching it is an error of the message
    uint32_t ids;        // a bit for each id that is or was in it: most look-ups end here
    struct lt_arena *arena;
};

enum { LT_HEADERS_MAX = 128 };  // fields of one message that a peer may send
enum { LT_HEADERS_ADDED = 32 }; // room for our own beside them

// A table in `arena` with room for LT_HEADERS_MAX + LT_HEADERS_ADDED. False: no memory. The table starts
// small and grows inside the arena, so that the common message of a dozen fields costs little.
bool lt_headers_init(struct lt_headers *h, struct lt_arena *arena) __attribute__((warn_unused_result));

// The id of a field name (a token), or LT_HDR_OTHER. Without regard to case.
enum lt_hdr lt_hdr_id(struct lt_span name);

// The canonical spelling of an id ("Content-Length").
struct lt_span lt_hdr_name(enum lt_hdr id);

_Static_assert(LT_HDR_COUNT <= 32, "lt_headers.ids");

// The next header, not dropped, with this id, after `after` (NULL: from the start); NULL when there is none.
static inline struct lt_header *lt_headers_next(const struct lt_headers *h, enum lt_hdr id,
                                                const struct lt_header *after) {
    struct lt_header *f = after ? h->v + (after - h->v) + 1 : h->v, *end = h->v + h->n;
    if (!(h->ids >> id & 1))
        return NULL;
    while (f < end && (f->id != id || f->dropped))
        f++;
    return f < end ? f : NULL;
}

static inline struct lt_header *lt_headers_get(const struct lt_headers *h, enum lt_hdr id) {
    return lt_headers_next(h, id, NULL);
}

// By any name, for those without an id.
struct lt_header *lt_headers_find(const struct lt_headers *h, struct lt_span name);

// Appends a field; name and value must live as long as the arena does (lt_arena_dup, lt_arena_printf, literals).
// False: table full or no memory. The value is not checked: use lt_field_value_ok() on what a peer influenced.
bool lt_headers_add(struct lt_headers *h, struct lt_span name, struct lt_span value) __attribute__((warn_unused_result));
// The same for a name that has an id.
bool lt_headers_add_id(struct lt_headers *h, enum lt_hdr id, struct lt_span value) __attribute__((warn_unused_result));

// Drops every field of this id. Returns how many there were.
unsigned lt_headers_drop(struct lt_headers *h, enum lt_hdr id);

// Replaces the value of one field (same lifetime rule as lt_headers_add); its raw line is no longer used.
static inline void lt_header_set(struct lt_header *f, struct lt_span value) {
    f->value = value;
    f->raw = lt_span(NULL, 0);
}

// RFC 9110 section 5.5: visible ASCII, obs-text, inner SP and HTAB. No CR, LF, NUL or other control.
bool lt_field_value_ok(struct lt_span value);

// RFC 9110 section 5.6.2 token, at least one character.
bool lt_token_ok(struct lt_span token);
