// SPDX-License-Identifier: Apache-2.0
// The session record: what the store keeps of one session. A stable internal id, times, the jar (the application's
// session cookies, which the client never sees) and the content that state carriers add (files, blobs).
//
// Stored form, big-endian:  version 0x01 | id (16) | created (8) | used (8) | counter (8)
//   | cookies (2) | { name (2+n) value (2+n) path (2+n) domain (2+n) expires (8) flags (1) }
//   | contents (2) | { name (2+n) bytes (4+n) }
// A record with anything behind that, or less, is not a record.
#pragma once

#include "base/buf.h"

#include <stdint.h>

enum { LT_RECORD_ID = 16, LT_RECORD_COOKIES = 32, LT_RECORD_CONTENTS = 8 };

struct lt_record_cookie {
    struct lt_span name, value, path, domain;
    int64_t expires; // wall ms; 0: with the session
    bool secure, http_only;
};

struct lt_record_content {
    struct lt_span name, bytes; // "files:sess_abc"
};

// All texts are owned by the record (one malloc each), so that it can outlive any buffer.
struct lt_record {
    uint8_t id[LT_RECORD_ID];
    int64_t created, used;            // wall ms; `used`: the last request that counted
    uint64_t counter;                 // versions written
    struct lt_record_cookie *cookies; // at most LT_RECORD_COOKIES
    unsigned n_cookies, cookies_cap;
    struct lt_record_content contents[LT_RECORD_CONTENTS];
    unsigned n_contents;
    bool changed; // something but `used` differs from what was decoded
};

// An empty record with a random id, created now. NULL: no memory or no randomness.
struct lt_record *lt_record_new(int64_t now);
void lt_record_free(struct lt_record *r);

// A deep copy, the same id: after a rotation the new token's record goes on where the old one stood. NULL: no memory.
struct lt_record *lt_record_copy(const struct lt_record *r);

// NULL: not a record, or no memory. Reads nothing beyond `bytes`.
struct lt_record *lt_record_decode(struct lt_span bytes);

// Appends the stored form. False: over the buffer's maximum, or no memory.
bool lt_record_encode(const struct lt_record *r, struct lt_buf *out) __attribute__((warn_unused_result));

// The cookie of this name; NULL: not in the jar.
const struct lt_record_cookie *lt_record_cookie(const struct lt_record *r, struct lt_span name);

// Puts or replaces (same name, path and domain) a cookie. Sets `changed` only when something differs. False: the jar is full, a
// text is over 65,535 bytes, or no memory; the record is as before.
bool lt_record_set_cookie(struct lt_record *r, const struct lt_record_cookie *c) __attribute__((warn_unused_result));

// Takes out every cookie of this name whose path equals `path` (empty path: whatever path). Returns how many there were.
unsigned lt_record_drop_cookie(struct lt_record *r, struct lt_span name, struct lt_span path);

// Takes out the cookies whose `expires` is in the past.
void lt_record_expire_cookies(struct lt_record *r, int64_t now);

// The content of this name; NULL: none.
const struct lt_record_content *lt_record_content(const struct lt_record *r, struct lt_span name);

// Puts or replaces a content (copied). Sets `changed` only when the bytes differ. False: full, or no memory.
bool lt_record_set_content(struct lt_record *r, struct lt_span name, struct lt_span bytes)
    __attribute__((warn_unused_result));
void lt_record_drop_content(struct lt_record *r, struct lt_span name);
