// SPDX-License-Identifier: Apache-2.0
// What a client sends in place of a record that it holds: parts of a cookie (one a line), a sealed record, a JSON Web Token, its claims.
//   parts that make a value make it again after they were cut anew; nothing that we have not made ourselves opens;
//   any payload comes back from its token; claims that are read are printed and read again the same.
#include "modules/session/jwt.h"
#include "modules/session/sealed.h"
#include "tests/fuzz/check.h"

static const int64_t now = 1763942400000;
static const struct claims_rules rules = {{"lethe", 5}, {"lethe", 5}, 30000};
static const struct client_limits limits = {1763942400000, 1800000, 43200000, 16384};

static struct lt_key_ring ring = {.n = 1, .keys = {{.id = "k", .secret = {7}}}};
static struct lt_jose_keys sets[3];

static const char pem[] = "-----BEGIN PRIVATE KEY-----\n"
                          "MC4CAQAwBQYDK2VwBCIEIJ1hsZ3v/VpguoRK9JLsLMREScVpezJpGXA7rAMcrn9g\n"
                          "-----END PRIVATE KEY-----\n";

static void make_keys(void) {
    CHECK(lt_jose_keys_derive(&sets[0], LT_JOSE_HS256, &ring));
    CHECK(lt_jose_keys_derive(&sets[1], LT_JOSE_DIR_A256GCM, &ring));
    sets[2] = (struct lt_jose_keys){.alg = LT_JOSE_EDDSA, .n = 1};
    CHECK(!lt_jose_key_pem(&sets[2].keys[0], LT_JOSE_EDDSA, LT_S("k"), lt_span_cstr(pem)));
}

static void check_parts(struct lt_span in) {
    struct client_cookie c = {.part = {{NULL, 0}}}, again;
    struct lt_arena arena;
    lt_arena_init(&arena, 1 << 20);
    for (unsigned i = 0; i < CLIENT_PARTS && in.n; i++) {
        size_t end = lt_span_find(in, '\n');
        c.part[i] = lt_span(in.p, end);
        in = lt_span(in.p + end + (end < in.n), in.n - end - (end < in.n));
    }
    struct lt_span value = client_join(&c, limits.max, &arena);
    CHECK(value.n <= limits.max);
    bool marked =
        value.n > 1 && value.n <= CLIENT_PART && value.p[1] == '~'; // one cookie that says it is several: never ours
    if (value.n && !marked) {
        CHECK(client_split(value, &again, &arena) > 0);
        CHECK(lt_span_eq(client_join(&again, limits.max, &arena), value));
    }
    lt_arena_fini(&arena);
}

static void check_token(struct lt_span in) {
    char kid[LT_JOSE_KID_MAX + 1];
    struct lt_buf out;
    lt_buf_init(&out, 1 << 20);
    for (unsigned i = 0; i < 3; i++) {
        CHECK(!lt_jose_keys_open(&sets[i], in, &out) && out.len == 0);
        CHECK(!lt_jose_kid(in, sets[i].alg, kid) || strlen(kid) <= LT_JOSE_KID_MAX);
    }
    struct lt_record *r = sealed_open(&ring, LT_S("lethe"), in, &limits, NULL);
    CHECK(!r);
    lt_buf_fini(&out);
}

static void check_payload(struct lt_span in, unsigned which) {
    struct lt_buf token, out;
    lt_buf_init(&token, LT_JOSE_TOKEN_MAX);
    lt_buf_init(&out, 1 << 20);
    if (in.n && in.n < 20000) {
        CHECK(lt_jose_make(&sets[which].keys[0], in, &token));
        CHECK(lt_jose_keys_open(&sets[which], lt_buf_span(&token), &out) && lt_span_eq(lt_buf_span(&out), in));
        CHECK(!lt_jose_keys_open(&sets[(which + 1) % 3], lt_buf_span(&token), &out));
    }
    lt_buf_fini(&token);
    lt_buf_fini(&out);
}

static void check_claims(struct lt_span in) {
    struct lt_record *r = claims_read(in, &rules, &limits), *again;
    struct lt_buf a, b;
    if (!r)
        return;
    CHECK(!r->changed && r->created >= 0 && r->used >= 0 && r->n_contents == 0);
    r->used = now; // the printed times are made of it
    r->created = r->created > now ? now : r->created;
    char *text = claims_print(r, &rules, &limits);
    CHECK(text && (again = claims_read(lt_span_cstr(text), &rules, &limits)));
    lt_buf_init(&a, 1 << 24);
    lt_buf_init(&b, 1 << 24);
    CHECK(lt_record_encode(r, &a) && lt_record_encode(again, &b) && lt_span_eq(lt_buf_span(&a), lt_buf_span(&b)));
    lt_buf_fini(&a);
    lt_buf_fini(&b);
    free(text);
    lt_record_free(r);
    lt_record_free(again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct lt_span in = lt_span((const char *)data, size);
    if (sets[0].n == 0)
        make_keys();
    check_parts(in);
    check_token(in);
    check_payload(in, size % 3);
    check_claims(in);
    return 0;
}
