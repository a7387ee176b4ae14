// SPDX-License-Identifier: Apache-2.0
// A blob in the store is sealed under the key ring and the application's id together, as a session's record is under the ring and
// the client's token: the id itself stands only inside the sealed record of the jar.
#include "modules/state_api/state.h"

#include "crypto/seal.h"

#include <stdlib.h>

static struct lt_seal_context context_of(struct lt_span id) {
    return (struct lt_seal_context){LT_S("blob"), id};
}

void blob_name(const struct state_worker *w, struct lt_span id, char out[LT_TOKEN_HASH_TEXT + 1]) {
    lt_secret_hash(id, "blob", w->prefix, out);
}

bool blob_seal(const struct state_worker *w, struct lt_span id, struct lt_span blob, struct lt_buf *out) {
    char name[LT_TOKEN_HASH_TEXT + 1];
    blob_name(w, id, name);
    char *room = lt_buf_reserve(out, lt_seal_size(blob.n));
    size_t n = room ? lt_seal(&w->ring, context_of(id), lt_span_cstr(name), blob, (uint8_t *)room) : 0;
    lt_buf_grew(out, n);
    return n > 0;
}

char *blob_open(const struct state_worker *w, struct lt_span id, struct lt_span sealed, size_t *n) {
    char name[LT_TOKEN_HASH_TEXT + 1];
    blob_name(w, id, name);
    char *blob = malloc(sealed.n + 1);
    if (blob && lt_open(&w->ring, context_of(id), lt_span_cstr(name), sealed, (uint8_t *)blob, n, NULL))
        return blob;
    free(blob);
    return NULL;
}
