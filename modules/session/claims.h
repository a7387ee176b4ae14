// SPDX-License-Identifier: Apache-2.0
// A record as the claims of a JSON Web Token (RFC 7519) and back:
//
//   {"iss": "lethe", "aud": "lethe", "jti": "<the record's id>", "iat": 1763942400, "nbf": 1763942400, "exp": 1763944200,
//    "lethe": {"created": 1763942400123, "used": 1763942400123, "counter": 0,
//              "jar": [{"name": "PHPSESSID", "value": "…", "path": "/", "domain": "…", "expires": 1763944200000, "secure": true,
//                       "http_only": true}]}}
//
// What is empty, 0 or false of a cookie is left out. JSON has characters, cookies have bytes: a byte is the character of its number.
#pragma once

#include "modules/session/client.h"

struct claims_rules {
    struct lt_span issuer, audience;
    int64_t leeway; // ms: how far another replica's clock may be ahead
};

enum { CLAIMS_ID_TEXT = (LT_RECORD_ID * 4 + 2) / 3 };

// The record's id as the claim "jti" has it, with a NUL.
void claims_id(const struct lt_record *r, char out[CLAIMS_ID_TEXT + 1]);

// The claims as JSON text in `out`, NUL-terminated, to be freed by free(). NULL: no memory.
char *claims_print(const struct lt_record *r, const struct claims_rules *rules, const struct client_limits *limits);

// Strict: every claim is there with its type, issuer and audience are ours, the times hold. NULL: not so, or no memory.
struct lt_record *claims_read(struct lt_span text, const struct claims_rules *rules, const struct client_limits *limits);
