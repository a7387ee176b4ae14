// SPDX-License-Identifier: Apache-2.0
#include "crypto/jose_keys.h"

#include "crypto/seal.h"

#include <errno.h>
#include <openssl/crypto.h>

enum { PEM_MAX = 8 << 10, PATH_MAX_ = 4096 };

static bool kid_ok(struct lt_span kid) {
    static const char chars[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-";
    for (size_t i = 0; i < kid.n; i++)
        if (!memchr(chars, kid.p[i], sizeof chars - 1))
            return false;
    return kid.n > 0 && kid.n <= LT_JOSE_KID_MAX;
}

const char *lt_jose_keys_check(struct lt_span entry) {
    size_t equals = lt_span_find(entry, '=');
    return kid_ok(lt_span(entry.p, equals)) && entry.n > equals + 1 && entry.n - equals < PATH_MAX_
               ? NULL
               : "write \"id=/path/to/key.pem\", the id of up to 32 letters, digits, \".\", \"_\" or \"-\"";
}

static struct lt_jose_key *find(const struct lt_jose_keys *set, struct lt_span kid) {
    for (unsigned i = 0; i < set->n; i++)
        if (lt_span_eq(lt_span_cstr(set->keys[i].kid), kid))
            return (struct lt_jose_key *)&set->keys[i];
    return NULL;
}

bool lt_jose_keys_derive(struct lt_jose_keys *set, enum lt_jose_alg alg, const struct lt_key_ring *ring) {
    bool ok = true;
    *set = (struct lt_jose_keys){.alg = alg};
    for (unsigned i = 0; ok && i < ring->n; i++) {
        uint8_t secret[LT_KEY_BYTES];
        struct lt_seal_context context = {alg == LT_JOSE_HS256 ? LT_S("jws-HS256") : LT_S("jwe-dir+A256GCM"), {NULL, 0}};
        lt_key_derive(&ring->keys[i], context, secret);
        ok = lt_jose_key_secret(&set->keys[set->n++], alg, lt_span_cstr(ring->keys[i].id),
                                lt_span((char *)secret, sizeof secret));
        OPENSSL_cleanse(secret, sizeof secret);
    }
    return ok;
}

// NULL, or what is wrong with the entry.
static const char *add_file(struct lt_jose_keys *set, struct lt_span entry) {
    char path[PATH_MAX_], pem[PEM_MAX];
    size_t equals = lt_span_find(entry, '=');
    struct lt_span kid = lt_span(entry.p, equals);
    if (find(set, kid))
        return "has the id of an earlier one; give each key an id of its own";
    if (set->n == LT_KEYS_MAX)
        return "is one too many; keep 16 at the most";
    snprintf(path, sizeof path, "%.*s", (int)(entry.n - equals - 1), entry.p + equals + 1);
    FILE *f = fopen(path, "re");
    if (!f)
        return strerror(errno);
    size_t n = fread(pem, 1, sizeof pem, f);
    fclose(f);
    const char *wrong = lt_jose_key_pem(&set->keys[set->n++], set->alg, kid, lt_span(pem, n));
    OPENSSL_cleanse(pem, sizeof pem);
    return wrong || set->n > 1 || set->keys[0].makes
               ? wrong
               : "is a public key; the first one signs, so write a private one there";
}

bool lt_jose_keys_files(struct lt_jose_keys *set, enum lt_jose_alg alg, const struct lt_span *entries, unsigned n,
                        char *error, size_t size) {
    *set = (struct lt_jose_keys){.alg = alg};
    for (unsigned i = 0; i < n; i++) {
        const char *wrong = lt_jose_keys_check(entries[i]);
        if (!wrong)
            wrong = add_file(set, entries[i]);
        if (wrong) {
            snprintf(error, size, "\"%.*s\" %s", (int)entries[i].n, entries[i].p, wrong);
            return false;
        }
    }
    if (n == 0)
        snprintf(error, size, "there is no key; write \"id=/path/to/key.pem\", one made by \"lethe keygen --alg %s\"",
                 lt_jose_algs[alg]);
    return n > 0;
}

void lt_jose_keys_fini(struct lt_jose_keys *set) {
    for (unsigned i = 0; i < set->n; i++)
        lt_jose_key_fini(&set->keys[i]);
    set->n = 0;
}

bool lt_jose_keys_open(const struct lt_jose_keys *set, struct lt_span token, struct lt_buf *payload) {
    char kid[LT_JOSE_KID_MAX + 1];
    const struct lt_jose_key *key = lt_jose_kid(token, set->alg, kid) ? find(set, lt_span_cstr(kid)) : NULL;
    return key && lt_jose_open(key, token, payload);
}

bool lt_jose_keys_print(const struct lt_jose_keys *set, struct lt_buf *out) {
    bool ok = lt_buf_append(out, LT_S("{\"keys\":["));
    for (unsigned i = 0; ok && i < set->n; i++)
        ok = (i == 0 || lt_buf_append(out, LT_S(","))) && lt_jose_print_jwk(&set->keys[i], out);
    return ok && lt_buf_append(out, LT_S("]}\n"));
}
