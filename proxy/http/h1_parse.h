// SPDX-License-Identifier: Apache-2.0
// The strict HTTP/1.1 head parser: one pass, slices into the caller's buffer, no allocation per header.
//
// The caller keeps one contiguous buffer that does not move while a head is parsed, and calls again when it holds
// more. Only whole lines are looked at, each of them once; the parser remembers where the first incomplete line
// begins. Everything that RFC 9112 lets a recipient repair and that two parsers could read differently is refused.
#pragma once

#include "http/headers.h"

enum lt_h1_status { LT_H1_MORE, LT_H1_DONE, LT_H1_BAD };

// Why a message is refused; each is a label of lethe_rejects_total and the body of the 400.
enum lt_h1_reason {
    LT_H1_OK,
    LT_H1_METHOD,  // not a token, or longer than 32
    LT_H1_TARGET,  // request target: controls, space, non-ASCII, fragment, or a form that the method does not allow
    LT_H1_VERSION, // not HTTP/1.x: the answer is 505 when it reads HTTP/<digit>.<digit>, else 400 (see version_known)
    LT_H1_STATUS_LINE,    // response: not "HTTP/1.x SP 3DIGIT [SP reason]"
    LT_H1_BARE_LF,        // LF without CR before it
    LT_H1_BARE_CR,        // CR without LF behind it
    LT_H1_FIELD_NAME,     // empty, not a token, space before the colon, no colon
    LT_H1_FIELD_VALUE,    // NUL or another control
    LT_H1_FOLD,           // obs-fold, or white space before the first field
    LT_H1_TOO_MANY,       // more than LT_HEADERS_MAX fields: the answer is 431
    LT_H1_TOO_LARGE,      // the head is over the limit: the answer is 431
    LT_H1_HOST,           // missing in 1.1, doubled, or not a valid uri-host[:port]; differs from an absolute target's
    LT_H1_CONTENT_LENGTH, // not one run of digits repeated identically, or over 2^63-1
    LT_H1_TRANSFER_ENCODING, // anything but exactly "chunked" once; in HTTP/1.0; beside Content-Length
    LT_H1_CHUNK_SIZE,        // not plain hex, over 15 digits
    LT_H1_CHUNK_EXT,         // control in an extension, or an extension over 4096 bytes
    LT_H1_CHUNK_END,         // no CRLF behind a chunk's data
    LT_H1_TRAILER,           // a malformed trailer field, or trailers over 8 KB
    LT_H1_EXPECT,            // an expectation other than 100-continue: the answer is 417
    LT_H1_MEMORY,            // no memory: 503
    LT_H1_REASONS,
};

// The word for logs, metrics and bodies: "bare-lf", "content-length", ….
const char *lt_h1_reason_name(enum lt_h1_reason r);

// The status that a request refused for this reason is answered with: 400, 431, 417, 505, 503.
int lt_h1_reason_status(enum lt_h1_reason r);

enum lt_method {
    LT_METHOD_OTHER,
    LT_METHOD_GET,
    LT_METHOD_HEAD,
    LT_METHOD_POST,
    LT_METHOD_PUT,
    LT_METHOD_DELETE,
    LT_METHOD_OPTIONS,
    LT_METHOD_TRACE,
    LT_METHOD_PATCH,
    LT_METHOD_CONNECT
};

struct lt_h1_head {
    // request
    struct lt_span method_text, target; // as they came
    enum lt_method method;
    struct lt_span scheme, authority; // of an absolute-form target, else empty
    struct lt_span path;              // origin form: path and query ("/a?b", or "*"); what is sent upstream
    struct lt_span host;              // the value that counts: the target's authority, or the Host field
    // response
    int status;                   // 100..999
    struct lt_span reason_phrase; // may be empty
    // both
    int minor; // HTTP/1.<minor>: 0, or 1 for anything above
    struct lt_headers headers;
    size_t size; // bytes of the head with its empty line, counted from the buffer's start
};

struct lt_h1_parser {
    bool response;
    size_t line;              // where the first line not yet read begins
    bool started;             // the start line was read
    size_t max;               // the head's limit in bytes
    enum lt_h1_reason reason; // set with LT_H1_BAD
    bool version_known;       // LT_H1_VERSION: the version is well-formed but not 1.x
};

// `max`: the most bytes of the head. The head's header table is made in `arena`.
// False: no memory.
bool lt_h1_parser_init(struct lt_h1_parser *p, struct lt_h1_head *head, struct lt_arena *arena, bool response,
                       size_t max) __attribute__((warn_unused_result));

// For the next message of the same connection, in the same table (interim answers): what the head held is forgotten.
void lt_h1_parser_again(struct lt_h1_parser *p, struct lt_h1_head *head);

// `data[0..n)`: all that was received of the message so far, the same memory at each call. A request may be preceded
// by at most one empty line (RFC 9112 section 2.2), which counts into head->size.
// LT_H1_DONE: head is whole; head->size bytes belong to it. LT_H1_BAD: p->reason says why, and the connection must not be
// used again. Host, Content-Length and Transfer-Encoding are checked by lt_framing_*, not here, but for Host.
enum lt_h1_status lt_h1_parse(struct lt_h1_parser *p, struct lt_h1_head *head, const char *data, size_t n);

// One field line without its CRLF into name and value: also used for trailers. LT_H1_OK or the reason.
enum lt_h1_reason lt_h1_field(struct lt_span line, struct lt_span *name, struct lt_span *value);
