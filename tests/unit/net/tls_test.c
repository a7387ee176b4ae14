// SPDX-License-Identifier: Apache-2.0
// Tickets' keys, certificates' files, and two streams that speak TLS with each other in one loop.
#include "net/stream.h"
#include "net/tls_cert.h"
#include "net/tls_ticket.h"
#include "tests/rig/leaks.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

TestSuite(tls, .fini = lt_rig_leaks);

// --- tickets ---

static const char
    *const first = "a:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
           *const both = "b:BBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBA a:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
           *const other = "a:CCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCA";

static void make_keys(struct lt_ticket_keys *keys, const char *text) {
    struct lt_key_ring ring;
    char why[200];
    cr_assert(lt_key_ring_parse(&ring, lt_span_cstr(text), why, sizeof why), "%s", why);
    cr_assert(lt_ticket_keys_init(keys, &ring));
}

static int use(const char *text, unsigned char name[LT_TICKET_NAME], bool issue) {
    static struct lt_ticket_keys keys;
    unsigned char iv[EVP_MAX_IV_LENGTH] = {0};
    EVP_MAC *hmac = EVP_MAC_fetch(NULL, "HMAC", NULL);
    EVP_MAC_CTX *mac = EVP_MAC_CTX_new(hmac);
    EVP_CIPHER_CTX *cipher = EVP_CIPHER_CTX_new();
    make_keys(&keys, text);
    int how = lt_ticket_keys_use(&keys, name, iv, cipher, mac, issue);
    lt_ticket_keys_wipe(&keys);
    EVP_CIPHER_CTX_free(cipher);
    EVP_MAC_CTX_free(mac);
    EVP_MAC_free(hmac);
    return how;
}

Test(tls, tickets_follow_the_ring) {
    unsigned char name[LT_TICKET_NAME], later[LT_TICKET_NAME];
    cr_assert_eq(use(first, name, true), 1);
    cr_assert_eq(use(first, name, false), 1);
    cr_assert_eq(use(both, name, false), 2, "an older key opens, and a new ticket is due");
    cr_assert_eq(use(other, name, false), 0, "the same id, another secret");
    cr_assert_eq(use(both, later, true), 1);
    cr_assert_neq(memcmp(name, later, sizeof name), 0, "the first key issues");
    cr_assert_eq(use(first, later, false), 0);
}

// No two of the three uses share a key, and none of them is the ring's.
Test(tls, tickets_have_keys_of_their_own) {
    static struct lt_ticket_keys keys;
    unsigned char ring[LT_KEY_BYTES] = {0};
    make_keys(&keys, first);
    cr_assert_neq(memcmp(keys.v[0].cipher, keys.v[0].mac, LT_KEY_BYTES), 0);
    cr_assert_neq(memcmp(keys.v[0].cipher, ring, LT_KEY_BYTES), 0);
    cr_assert_neq(memcmp(keys.v[0].name, keys.v[0].cipher, LT_TICKET_NAME), 0);
    lt_ticket_keys_wipe(&keys);
    cr_assert_eq(memcmp(keys.v[0].cipher, ring, LT_KEY_BYTES), 0, "wiped");
}

// --- files ---

static char path[64];

// A certificate that signs itself, with these names, and its key: into `path`. `behind`: what follows.
static void write_pem(const char *names, bool key_too, const char *behind) {
    EVP_PKEY *key = EVP_EC_gen("P-256");
    X509 *x = X509_new();
    X509_set_version(x, 2);
    ASN1_INTEGER_set(X509_get_serialNumber(x), 7);
    X509_gmtime_adj(X509_getm_notBefore(x), -60);
    X509_gmtime_adj(X509_getm_notAfter(x), 3600);
    X509_NAME_add_entry_by_txt(X509_get_subject_name(x), "CN", MBSTRING_ASC, (const unsigned char *)"unit", -1, -1, 0);
    X509_set_issuer_name(x, X509_get_subject_name(x));
    X509_set_pubkey(x, key);
    X509_EXTENSION *san = X509V3_EXT_conf_nid(NULL, NULL, NID_subject_alt_name, names);
    X509_add_ext(x, san, -1);
    X509_EXTENSION_free(san);
    X509_sign(x, key, EVP_sha256());
    snprintf(path, sizeof path, "/tmp/lethe-tls-XXXXXX");
    FILE *f = fdopen(mkstemp(path), "w");
    PEM_write_X509(f, x);
    if (key_too)
        PEM_write_PrivateKey(f, key, NULL, NULL, 0, NULL, NULL);
    fputs(behind, f);
    fclose(f);
    X509_free(x);
    EVP_PKEY_free(key);
}

static void note(void *user, struct lt_span name) {
    char *all = user;
    snprintf(all + strlen(all), 200 - strlen(all), "%.*s ", (int)name.n, name.p);
}

Test(tls, names_of_a_certificate) {
    char why[LT_CERT_WHY], all[200] = "";
    struct lt_cert c;
    write_pem("DNS:One.Test,IP:127.0.0.1,DNS:*.two.test", true, "");
    cr_assert(lt_cert_load(&c, lt_span_cstr(path), true, why), "%s", why);
    lt_cert_names(&c, note, all);
    cr_assert_str_eq(all, "one.test *.two.test ");
    lt_cert_free(&c);
    unlink(path);
}

static void refused(const char *names, bool key_too, const char *behind, const char *expected) {
    char why[LT_CERT_WHY];
    struct lt_cert c;
    write_pem(names, key_too, behind);
    cr_assert_not(lt_cert_load(&c, lt_span_cstr(path), true, why));
    cr_assert(strstr(why, expected) && strstr(why, "; write"), "%s", why);
    unlink(path);
}

Test(tls, files_that_are_refused) {
    char why[LT_CERT_WHY];
    struct lt_cert c;
    refused("DNS:a", false, "", "no private key");
    refused("DNS:a", true, "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "is broken");
    cr_assert_not(lt_cert_load(&c, LT_S("/no/such/file"), true, why));
    cr_assert(strstr(why, "No such file"), "%s", why);
    cr_assert_not(lt_cert_load(&c, LT_S("/tmp"), true, why));
    cr_assert_not(lt_cert_load(&c, LT_S(""), true, why));
    cr_assert_not(lt_cert_load(&c, LT_S("/dev/zero"), true, why));
    cr_assert(strstr(why, "too large"), "%s", why);
}

Test(tls, two_paths_or_one) {
    struct lt_span cert, key;
    lt_cert_paths(LT_S("/a.pem:/b.key"), &cert, &key);
    cr_assert(lt_span_eq(cert, LT_S("/a.pem")) && lt_span_eq(key, LT_S("/b.key")));
    lt_cert_paths(LT_S("/a.pem"), &cert, &key);
    cr_assert(lt_span_eq(cert, LT_S("/a.pem")) && lt_span_eq(key, cert));
}

// --- two streams ---

enum { AMOUNT = 300 << 10, OUT_MAX = 512 << 10 };

static struct lt_loop loop;
static struct side {
    struct lt_stream stream;
    bool server, shaken, ended;
    size_t got, bad;
    enum lt_err error;
} sides[2];

static char content(size_t at) {
    return (char)(at * 7 + at / 251);
}

static void check_end(void) {
    if ((sides[0].ended && sides[1].ended) || sides[0].error || sides[1].error)
        lt_loop_stop(&loop);
}

static void send_all(struct side *s) {
    static char text[AMOUNT];
    for (size_t i = 0; i < AMOUNT; i++)
        text[i] = content(i);
    // in one piece, in three, and corked
    struct lt_span pieces[] = {lt_span(text + 100000, 1), lt_span(text + 100001, 99999), lt_span(NULL, 0)},
                   one = lt_span(text, 100000);
    cr_assert_eq(lt_stream_write(&s->stream, &one, 1), LT_OK);
    cr_assert_eq(lt_stream_write(&s->stream, pieces, 3), LT_OK);
    lt_stream_cork(&s->stream);
    one = lt_span(text + 200000, AMOUNT - 200000);
    cr_assert_eq(lt_stream_write(&s->stream, &one, 1), LT_OK);
    cr_assert_eq(lt_stream_uncork(&s->stream), LT_OK);
    if (lt_stream_pending(&s->stream) == 0)
        lt_stream_shutdown(&s->stream);
}

static void on_readable(struct lt_stream *stream) {
    struct side *s = LT_ENTRY(stream, struct side, stream);
    char into[5000]; // no multiple of a record
    size_t got;
    bool done = true;
    if (!s->shaken) {
        s->error = lt_stream_handshake(stream, &done);
        s->shaken = done && s->error == LT_OK;
        if (s->shaken)
            send_all(s);
        check_end();
        return;
    }
    enum lt_err e = lt_stream_read(stream, into, sizeof into, &got);
    for (size_t i = 0; i < got; i++)
        s->bad += into[i] != content(s->got++);
    s->ended = e == LT_ERR_CLOSED;
    s->error = e == LT_ERR_CLOSED ? LT_OK : e;
    if (e != LT_OK)
        lt_stream_want_read(stream, false);
    check_end();
}

static void on_drained(struct lt_stream *stream) {
    lt_stream_shutdown(stream);
}

static void on_broken(struct lt_stream *stream, enum lt_err e) {
    LT_ENTRY(stream, struct side, stream)->error = e;
    check_end();
}

static const struct lt_stream_ops ops = {on_readable, on_drained, on_broken};

static struct lt_tls_server *make_server(struct lt_diag *diag) {
    struct lt_span file = lt_span_cstr(path);
    struct lt_tls_server_conf conf = {.certificates = &file, .n = 1, .tickets = true, .client_ca = file};
    return lt_tls_server_new(&conf, diag);
}

// Both sides shake hands, send, end; or fail.
static void converse(struct lt_tls_server *server, struct lt_tls_context *context, const char *name) {
    int fds[2];
    cr_assert_eq(lt_loop_init(&loop), LT_OK);
    cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds), 0);
    for (int i = 0; i < 2; i++) {
        sides[i] = (struct side){.server = i == 0};
        lt_stream_open(&sides[i].stream, &loop, fds[i], &ops, OUT_MAX);
    }
    cr_assert(lt_stream_accept_secure(&sides[0].stream, server));
    cr_assert(lt_stream_secure(&sides[1].stream, context, lt_span_cstr(name)));
    for (int i = 0; i < 2; i++)
        lt_stream_want_read(&sides[i].stream, true);
    on_readable(&sides[1].stream);
    if (!sides[0].error && !sides[1].error)
        lt_loop_run(&loop);
}

static void finish(void) {
    for (int i = 0; i < 2; i++)
        lt_stream_close(&sides[i].stream);
    lt_loop_settle(&loop);
    lt_loop_fini(&loop);
}

static void with_pair(const char *name, bool any_peer, void (*look)(void)) {
    struct lt_arena arena;
    struct lt_diag diag;
    enum lt_tls_file wrong;
    const char *why;
    lt_arena_init(&arena, 1 << 16);
    lt_diag_init(&diag, &arena);
    write_pem("DNS:unit.test", true, "");
    struct lt_tls_files files = {.ca = lt_span_cstr(path), .any_peer = any_peer};
    struct lt_tls_server *server = make_server(&diag);
    cr_assert(server, "%s", diag.first ? diag.first->text.p : "");
    struct lt_tls_context *context = lt_tls_context_new(&files, &wrong, &why);
    cr_assert(context);
    converse(server, context, name);
    lt_tls_server_put(server); // connections outlive what they were made from
    lt_tls_context_free(context);
    look();
    finish();
    lt_arena_fini(&arena);
    unlink(path);
}

static void all_came(void) {
    for (int i = 0; i < 2; i++) {
        cr_assert_eq(sides[i].error, LT_OK, "%s", lt_stream_why(&sides[i].stream));
        cr_assert(sides[i].ended);
        cr_assert_eq(sides[i].got, AMOUNT);
        cr_assert_eq(sides[i].bad, 0);
        cr_assert_eq(lt_stream_alpn(&sides[i].stream).n, 0);
        cr_assert_eq(lt_stream_subject(&sides[i].stream).n, 0);
    }
}

static void name_is_wrong(void) {
    cr_assert_eq(sides[1].error, LT_ERR_PROTOCOL);
    cr_assert_str_eq(lt_stream_why(&sides[1].stream), "hostname mismatch");
    cr_assert_eq(sides[1].got, 0);
}

Test(tls, two_streams) {
    with_pair("unit.test", false, all_came);
}

Test(tls, another_name) {
    with_pair("other.test", false, name_is_wrong);
}

Test(tls, another_name_that_is_nobodys_business) {
    with_pair("other.test", true, all_came);
}
