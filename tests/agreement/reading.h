// SPDX-License-Identifier: Apache-2.0
// What a parser makes of a message: the same shape for lethe and for llhttp, so that the two can be laid side by side.
#pragma once

#include "http/h1_body.h"

enum { MESSAGE_MAX = 48 << 10, POOL_MAX = 4 * MESSAGE_MAX, FIELDS_MAX = MESSAGE_MAX / 4 };

enum kind { REQUEST, RESPONSE, RESPONSE_TO_HEAD };

struct message {
    const char *name;
    enum kind kind;
    struct lt_span text; // the message, and perhaps the next one behind it
};

enum verdict {
    WITHIN_HEAD,    // the input ended before the head did: nothing is decided
    WITHIN_BODY,    // the head was accepted, and all of the body that came
    WITHIN_TRAILER, // the same, but a line of the trailers is not whole yet, and nothing is decided about it
    WHOLE,          // a whole message
    REFUSED,
};

struct fields {
    unsigned n;
    struct field {
        struct lt_span name, value;
    } v[FIELDS_MAX];
};

struct reading {
    enum verdict verdict;
    enum lt_h1_reason reason; // lethe's, with REFUSED
    const char *error;        // llhttp's, with REFUSED
    bool head;                // the head was accepted (a body may be REFUSED all the same)
    struct lt_span method, target;
    int major, minor, status;
    struct fields fields, trailers; // values without the white space around them
    struct lt_span body;
    bool upgrade; // another protocol may follow
    size_t end;   // with WHOLE: where the next message begins
    size_t pool_n;
    char pool[POOL_MAX]; // what a parser hands over in pieces or frees
};

void reading_reset(struct reading *r);

// A longer *s, with `piece` behind it. The pieces of one span must come one after the other.
void reading_append(struct reading *r, struct lt_span *s, struct lt_span piece);

// A line for a person: "accepts" or the reason.
const char *reading_says(const struct reading *r);

void read_by_lethe(const struct message *m, struct reading *r);
void read_by_llhttp(const struct message *m, struct reading *r);

// For the bytes of a message on a terminal: "GET / HTTP/1.1\r\n…".
void print_quoted(struct lt_span text);
