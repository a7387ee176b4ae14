// SPDX-License-Identifier: Apache-2.0
#include "crypto/key_ring.h"

#include "crypto/token.h"

#include <openssl/crypto.h>
#include <stdio.h>
#include <time.h>

static bool is_blank(char c) {
    return c == ' ' || c == '\t' || c == '\r' || c == '\n' || c == ',';
}

bool lt_key_ring_next(struct lt_span *text, struct lt_span *entry) {
    while (text->n && (is_blank(*text->p) || *text->p == '#')) {
        size_t skip = *text->p == '#' ? lt_span_find(*text, '\n') : 1;
        *text = lt_span(text->p + skip, text->n - skip);
    }
    size_t n = 0;
    while (n < text->n && !is_blank(text->p[n]) && text->p[n] != '#')
        n++;
    *entry = lt_span(text->p, n);
    *text = lt_span(text->p + n, text->n - n);
    return n > 0;
}

static bool id_ok(struct lt_span id) {
    static const char chars[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-";
    for (size_t i = 0; i < id.n; i++)
        if (!memchr(chars, id.p[i], sizeof chars - 1))
            return false;
    return id.n > 0 && id.n <= LT_KEY_ID_MAX;
}

static bool has_id(const struct lt_key_ring *ring, struct lt_span id) {
    for (unsigned i = 0; i < ring->n; i++)
        if (lt_span_eq(lt_span_cstr(ring->keys[i].id), id))
            return true;
    return false;
}

// NULL, or what is wrong with the entry. Never shows it: it may be a key with a slip in it.
static const char *add(struct lt_key_ring *ring, struct lt_span entry) {
    size_t colon = lt_span_find(entry, ':'), n;
    struct lt_span id = lt_span(entry.p, colon);
    struct lt_key key = {.id = ""};
    if (colon == entry.n)
        return "has no \":\"; write \"id:secret\", one made by \"lethe keygen\"";
    if (!id_ok(id))
        return "has a bad id; write 1 to 16 letters, digits, \"_\" or \"-\" before the \":\"";
    if (has_id(ring, id))
        return "has the id of an earlier one; give each key an id of its own";
    if (ring->n == LT_KEYS_MAX)
        return "is one too many; keep 16 at the most, the newest first";
    struct lt_span secret = lt_span(entry.p + colon + 1, entry.n - colon - 1);
    bool ok = lt_base64url_decode(secret, key.secret, sizeof key.secret, &n) && n == LT_KEY_BYTES;
    if (ok) {
        memcpy(key.id, id.p, id.n);
        ring->keys[ring->n++] = key;
    }
    OPENSSL_cleanse(&key, sizeof key);
    return ok ? NULL : "has no secret of 43 base64url characters; make one by \"lethe keygen\"";
}

bool lt_key_ring_add(struct lt_key_ring *ring, struct lt_span text, char *error, size_t size) {
    struct lt_span entry;
    unsigned before = ring->n;
    for (unsigned i = 1; lt_key_ring_next(&text, &entry); i++) {
        const char *wrong = add(ring, entry);
        if (!wrong)
            continue;
        snprintf(error, size, "key %u %s", i, wrong);
        lt_key_ring_wipe(ring);
        return false;
    }
    if (ring->n > before)
        return true;
    snprintf(error, size, "there is no key; write \"id:secret\", one made by \"lethe keygen\"");
    lt_key_ring_wipe(ring);
    return false;
}

bool lt_key_ring_parse(struct lt_key_ring *ring, struct lt_span text, char *error, size_t size) {
    *ring = (struct lt_key_ring){.n = 0};
    return lt_key_ring_add(ring, text, error, size);
}

bool lt_key_new(struct lt_key *key, int64_t now) {
    time_t seconds = (time_t)(now / 1000);
    struct tm t;
    uint8_t mark[3]; // two keys of one day must not meet in one ring
    gmtime_r(&seconds, &t);
    if (!lt_random(key->secret, sizeof key->secret) || !lt_random(mark, sizeof mark))
        return false;
    snprintf(key->id, sizeof key->id, "k%04u%02u%02u%02x%02x%02x", (unsigned)(t.tm_year + 1900) % 10000,
             (unsigned)(t.tm_mon + 1) % 100, (unsigned)t.tm_mday % 100, mark[0], mark[1], mark[2]);
    return true;
}

size_t lt_key_format(const struct lt_key *key, char *out, size_t size) {
    char secret[(LT_KEY_BYTES * 4 + 2) / 3 + 1];
    lt_base64url_encode(key->secret, sizeof key->secret, secret);
    int n = snprintf(out, size, "%s:%s", key->id, secret);
    OPENSSL_cleanse(secret, sizeof secret);
    return (size_t)n;
}

void lt_key_ring_wipe(struct lt_key_ring *ring) {
    OPENSSL_cleanse(ring, sizeof *ring);
}
