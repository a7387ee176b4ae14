// SPDX-License-Identifier: Apache-2.0
// Known answers: RFC 7515 appendix A.1 (HS256) and A.3 (ES256), RFC 8037 appendix A (EdDSA); for dir + A256GCM, of which no RFC has an
// example, the key, nonce, plaintext and so the ciphertext of RFC 7516 appendix A.1 with the header that "dir" needs.
#include "crypto/jose_keys.h"

#include "crypto/token.h"
#include "tests/rig/leaks.h"

#include <criterion/criterion.h>
#include <openssl/evp.h>
#include <stdlib.h>
#include <unistd.h>

TestSuite(jose, .fini = lt_rig_leaks);

#define PEM(body) "-----BEGIN PRIVATE KEY-----\n" body "\n-----END PRIVATE KEY-----\n"

static const char es256_pem[] = PEM("MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgjpsQnnGQmL+YBIff\n"
                                    "H1136cspYG6+0iY7X1fCE9+E9LKhRANCAAR/zc4ncPbEXUGDy+5v20t7WAczNXvp\n"
                                    "7xO6z248e9FURcfxRM0bvZt+hyzf7bnuufSzaV1uqQskrYpGIyiFiOWt"),
                  ed_pem[] = PEM("MC4CAQAwBQYDK2VwBCIEIJ1hsZ3v/VpguoRK9JLsLMREScVpezJpGXA7rAMcrn9g");

#define JOE "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ"
static const char joe[] = "{\"iss\":\"joe\",\r\n \"exp\":1300819380,\r\n \"http://example.com/is_root\":true}";
static const struct known {
    enum lt_jose_alg alg;
    const char *key, *token, *payload; // key: PEM, or base64url
} known[] = {
    {LT_JOSE_HS256, "AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow",
     "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9." JOE ".dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk", joe},
    {LT_JOSE_ES256, es256_pem,
     "eyJhbGciOiJFUzI1NiJ9." JOE
     ".DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q",
     joe},
    {LT_JOSE_EDDSA, ed_pem,
     "eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc."
     "hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg",
     "Example of Ed25519 signing"},
    {LT_JOSE_DIR_A256GCM, "saH0gFSP4XM_tAP_a5rU9ooHbltwLiJpL4LLLnrqQPw",
     "eyJhbGciOiJkaXIiLCJlbmMiOiJBMjU2R0NNIn0..48V1_ALb6US04U3b."
     "5eym8TW_c8SuK0ltJ3rpYIzOeDQz7TALvtu6UG9oMo4vpzs9tX_EFShS8iB7j6jiSdiwkIr3ajwQzaBtQD_A.Q_HtEPSRG-ujQXQqWM1jlg",
     "The true sign of intelligence is not knowledge but imagination."},
};
enum { KNOWN = sizeof known / sizeof *known };

static struct lt_jose_key key_of(const struct known *k) {
    struct lt_jose_key key;
    uint8_t secret[64];
    size_t n;
    if (lt_jose_is_asymmetric(k->alg)) {
        const char *wrong = lt_jose_key_pem(&key, k->alg, LT_S("one"), lt_span_cstr(k->key));
        cr_assert_null(wrong, "%s", wrong);
        return key;
    }
    cr_assert(lt_base64url_decode(lt_span_cstr(k->key), secret, sizeof secret, &n));
    cr_assert(lt_jose_key_secret(&key, k->alg, LT_S("one"), lt_span((char *)secret, n)));
    return key;
}

static bool opens(const struct lt_jose_key *key, struct lt_span token, const char *payload) {
    struct lt_buf out;
    lt_buf_init(&out, 1 << 16);
    char *exact = malloc(token.n + 1); // so that reading behind it is seen
    memcpy(exact, token.p, token.n);
    bool ok = lt_jose_open(key, lt_span(exact, token.n), &out);
    cr_assert(!ok || lt_span_eq(lt_buf_span(&out), lt_span_cstr(payload)));
    cr_assert(ok || out.len == 0);
    free(exact);
    lt_buf_fini(&out);
    return ok;
}

Test(jose, known_answers) {
    for (int i = 0; i < KNOWN; i++) {
        struct lt_jose_key key = key_of(&known[i]);
        cr_assert(opens(&key, lt_span_cstr(known[i].token), known[i].payload), "%s", lt_jose_algs[known[i].alg]);
        lt_jose_key_fini(&key);
    }
}

static void refuse_changes(const struct lt_jose_key *key, struct lt_span good, const char *payload) {
    char text[1024];
    for (size_t bit = 0; bit < good.n * 8; bit++) {
        memcpy(text, good.p, good.n);
        text[bit / 8] = (char)(text[bit / 8] ^ (1 << bit % 8));
        cr_assert_not(opens(key, lt_span(text, good.n), payload), "%s, bit %zu", lt_jose_algs[key->alg], bit);
    }
    for (size_t cut = 0; cut < good.n; cut++)
        cr_assert_not(opens(key, lt_span(good.p, cut), payload), "%s, cut at %zu", lt_jose_algs[key->alg], cut);
    static const char *const behind[] = {".", "A", "=", " ", "\n", ".e30", "..", "AAAA"};
    for (size_t i = 0; i < sizeof behind / sizeof *behind; i++) {
        int n = snprintf(text, sizeof text, "%.*s%s", (int)good.n, good.p, behind[i]);
        cr_assert_not(opens(key, lt_span(text, (size_t)n), payload), "\"%s\" behind", behind[i]);
    }
}

Test(jose, any_changed_bit_and_any_cut_is_refused) {
    for (int i = 0; i < KNOWN; i++) {
        struct lt_jose_key key = key_of(&known[i]);
        struct lt_buf made;
        lt_buf_init(&made, 4096);
        refuse_changes(&key, lt_span_cstr(known[i].token), known[i].payload);
        cr_assert(lt_jose_make(&key, LT_S("{\"a\":1}"), &made));
        cr_assert(opens(&key, lt_buf_span(&made), "{\"a\":1}"));
        refuse_changes(&key, lt_buf_span(&made), "{\"a\":1}");
        lt_buf_fini(&made);
        lt_jose_key_fini(&key);
    }
}

// A token with this header, signed as the algorithm says, or with the known answer's own tag.
static void with_header(const char *header, const char *rest, char out[1024]) {
    char text[256];
    lt_base64url_encode(header, strlen(header), text);
    snprintf(out, 1024, "%s%s", text, rest);
}

Test(jose, the_header_decides_nothing) {
    char token[1024], kid[LT_JOSE_KID_MAX + 1];
    const char *rest = strchr(known[0].token, '.');
    static const char *const headers[] = {
        "{\"alg\":\"none\",\"kid\":\"one\",\"typ\":\"JWT\"}",
        "{\"alg\":\"HS384\",\"kid\":\"one\",\"typ\":\"JWT\"}",
        "{\"alg\":\"ES256\",\"kid\":\"one\",\"typ\":\"JWT\"}",
        "{\"alg\":\"hs256\",\"kid\":\"one\",\"typ\":\"JWT\"}",
        "{\"kid\":\"one\",\"typ\":\"JWT\"}",
        "{\"alg\":\"HS256\",\"typ\":\"JWT\"}",
        "{\"alg\":\"HS256\",\"kid\":\"one\"}",
        "{\"alg\":\"HS256\",\"kid\":\"one\",\"typ\":\"JOSE\"}",
        "{\"alg\":\"HS256\",\"kid\":1,\"typ\":\"JWT\"}",
        "{\"alg\":\"HS256\",\"kid\":\"123456789012345678901234567890123\",\"typ\":\"JWT\"}",
        "{\"alg\":\"HS256\",\"alg\":\"HS256\",\"kid\":\"one\",\"typ\":\"JWT\"}",
        "{\"alg\":\"HS256\",\"kid\":\"one\",\"typ\":\"JWT\",\"crit\":[\"exp\"]}",
        "{\"alg\":\"HS256\",\"kid\":\"one\",\"typ\":\"JWT\",\"zip\":\"DEF\"}",
        "{\"alg\":\"HS256\",\"kid\":\"one\",\"typ\":\"JWT\",\"jku\":\"https://a/\"}",
        "{\"alg\":\"HS256\",\"enc\":\"A256GCM\",\"kid\":\"one\",\"typ\":\"JWT\"}",
        "[\"alg\"]",
        "\"alg\"",
        "{}",
        "",
    };
    for (size_t i = 0; i < sizeof headers / sizeof *headers; i++) {
        with_header(headers[i], rest, token);
        cr_assert_not(lt_jose_kid(lt_span_cstr(token), LT_JOSE_HS256, kid), "%s", headers[i]);
    }
    with_header("{\"typ\":\"JWT\", \"kid\":\"one\", \"alg\":\"HS256\"}", rest, token);
    cr_assert(lt_jose_kid(lt_span_cstr(token), LT_JOSE_HS256, kid));
    cr_assert_str_eq(kid, "one");
    cr_assert_not(lt_jose_kid(lt_span_cstr(token), LT_JOSE_EDDSA, kid));
}

// The old mistake: the public key of a pair, known to all, taken for the secret of an HMAC.
Test(jose, a_public_key_is_no_secret) {
    struct lt_jose_key secret, pair = key_of(&known[1]);
    struct lt_buf made;
    lt_buf_init(&made, 4096);
    cr_assert(lt_jose_key_secret(&secret, LT_JOSE_HS256, LT_S("one"), lt_span_cstr(es256_pem)));
    cr_assert(lt_jose_make(&secret, LT_S("{}"), &made));
    cr_assert_not(opens(&pair, lt_buf_span(&made), ""));
    lt_buf_fini(&made);
    lt_jose_key_fini(&secret);
    lt_jose_key_fini(&pair);
}

static struct lt_key_ring ring_of(const char *first, const char *second) {
    struct lt_key_ring ring = {.n = second ? 2 : 1};
    strcpy(ring.keys[0].id, first);
    memset(ring.keys[0].secret, first[0], LT_KEY_BYTES);
    if (second) {
        strcpy(ring.keys[1].id, second);
        memset(ring.keys[1].secret, second[0], LT_KEY_BYTES);
    }
    return ring;
}

Test(jose, the_first_key_makes_and_all_open) {
    static const enum lt_jose_alg algs[] = {LT_JOSE_DIR_A256GCM, LT_JOSE_HS256};
    struct lt_key_ring old = ring_of("old", NULL), both = ring_of("new", "old"), other = ring_of("new", NULL);
    for (int i = 0; i < 2; i++) {
        struct lt_jose_keys a, b, c;
        struct lt_buf token, out;
        lt_buf_init(&token, 4096);
        lt_buf_init(&out, 4096);
        cr_assert(lt_jose_keys_derive(&a, algs[i], &old) && lt_jose_keys_derive(&b, algs[i], &both) &&
                  lt_jose_keys_derive(&c, algs[i], &other));
        cr_assert(lt_jose_make(&a.keys[0], LT_S("x"), &token));
        cr_assert(lt_jose_keys_open(&b, lt_buf_span(&token), &out));
        cr_assert_not(lt_jose_keys_open(&c, lt_buf_span(&token), &out), "its key is gone");
        lt_buf_consume(&token, token.len);
        cr_assert(lt_jose_make(&b.keys[0], LT_S("x"), &token));
        cr_assert_not(lt_jose_keys_open(&a, lt_buf_span(&token), &out));
        cr_assert(lt_jose_keys_open(&c, lt_buf_span(&token), &out));
        lt_jose_keys_fini(&a);
        lt_jose_keys_fini(&b);
        lt_jose_keys_fini(&c);
        lt_buf_fini(&token);
        lt_buf_fini(&out);
    }
}

static void write_file(const char *path, const char *text) {
    FILE *f = fopen(path, "w");
    cr_assert(f && fputs(text, f) >= 0 && fclose(f) == 0);
}

Test(jose, pem_files_and_their_public_parts) {
    struct lt_jose_keys set;
    char dir[] = "/tmp/lethe-jose-XXXXXX", entry[96], path[64], error[512];
    struct lt_buf out;
    cr_assert(mkdtemp(dir));
    snprintf(path, sizeof path, "%s/key.pem", dir);
    snprintf(entry, sizeof entry, "2026-11=%s", path);
    const struct lt_span entries[] = {lt_span_cstr(entry), lt_span_cstr(entry)};
    cr_assert_not(lt_jose_keys_files(&set, LT_JOSE_EDDSA, entries, 1, error, sizeof error));
    cr_assert(strstr(error, "No such file"), "%s", error);
    lt_jose_keys_fini(&set);
    write_file(path, ed_pem);
    cr_assert(lt_jose_keys_files(&set, LT_JOSE_EDDSA, entries, 1, error, sizeof error), "%s", error);
    lt_buf_init(&out, 4096);
    cr_assert(lt_jose_keys_print(&set, &out) && lt_buf_append(&out, lt_span("", 1)));
    cr_assert_str_eq(out.p, "{\"keys\":[{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"alg\":\"EdDSA\",\"use\":\"sig\","
                            "\"kid\":\"2026-11\",\"x\":\"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo\"}]}\n");
    lt_buf_fini(&out);
    lt_jose_keys_fini(&set);
    cr_assert_not(lt_jose_keys_files(&set, LT_JOSE_ES256, entries, 1, error, sizeof error));
    cr_assert(strstr(error, "is no P-256 key"), "%s", error);
    lt_jose_keys_fini(&set);
    cr_assert_not(lt_jose_keys_files(&set, LT_JOSE_EDDSA, entries, 2, error, sizeof error));
    cr_assert(strstr(error, "the id of an earlier one"), "%s", error);
    lt_jose_keys_fini(&set);
    write_file(path, es256_pem);
    cr_assert(lt_jose_keys_files(&set, LT_JOSE_ES256, entries, 1, error, sizeof error), "%s", error);
    cr_assert(lt_jose_keys_print(&set, &out) && lt_buf_append(&out, lt_span("", 1)));
    cr_assert_str_eq(
        out.p, "{\"keys\":[{\"kty\":\"EC\",\"crv\":\"P-256\",\"alg\":\"ES256\",\"use\":\"sig\",\"kid\":\"2026-11\","
               "\"x\":\"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU\","
               "\"y\":\"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0\"}]}\n");
    lt_buf_fini(&out);
    lt_jose_keys_fini(&set);
    unlink(path);
    rmdir(dir);
}

Test(jose, a_public_key_verifies_and_does_not_sign) {
    static const char public_pem[] = "-----BEGIN PUBLIC KEY-----\n"
                                     "MCowBQYDK2VwAyEA11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=\n"
                                     "-----END PUBLIC KEY-----\n";
    struct lt_jose_key key;
    struct lt_buf out;
    lt_buf_init(&out, 4096);
    cr_assert_null(lt_jose_key_pem(&key, LT_JOSE_EDDSA, LT_S("old"), lt_span_cstr(public_pem)));
    cr_assert(opens(&key, lt_span_cstr(known[2].token), known[2].payload));
    cr_assert_not(lt_jose_make(&key, LT_S("{}"), &out));
    lt_jose_key_fini(&key);
    cr_assert_not_null(lt_jose_key_pem(&key, LT_JOSE_EDDSA, LT_S("old"), LT_S("-----BEGIN")));
    lt_jose_key_fini(&key);
}

Test(jose, what_keygen_makes_can_be_read) {
    static const enum lt_jose_alg algs[] = {LT_JOSE_EDDSA, LT_JOSE_ES256};
    for (int i = 0; i < 2; i++) {
        char pem[4096];
        FILE *f = fmemopen(pem, sizeof pem, "w");
        struct lt_jose_key key;
        cr_assert(f && lt_jose_new_pem(algs[i], f) && fclose(f) == 0);
        cr_assert_null(lt_jose_key_pem(&key, algs[i], LT_S("k"), lt_span_cstr(pem)));
        cr_assert(key.makes);
        lt_jose_key_fini(&key);
    }
}
