// SPDX-License-Identifier: Apache-2.0
#include "net/tls_ticket.h"

#include "crypto/seal.h"

#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/rand.h>
#include <pthread.h>

static pthread_once_t once = PTHREAD_ONCE_INIT;
static EVP_CIPHER *cbc; // fetched once: a fetch by name costs more than the work itself

static void fetch(void) {
    cbc = EVP_CIPHER_fetch(NULL, "AES-256-CBC", NULL);
}

bool lt_ticket_keys_init(struct lt_ticket_keys *keys, const struct lt_key_ring *ring) {
    uint8_t name[LT_KEY_BYTES];
    pthread_once(&once, fetch);
    keys->n = ring->n;
    for (unsigned i = 0; i < ring->n; i++) {
        struct lt_ticket_key *k = &keys->v[i];
        struct lt_seal_context of_name = {.purpose = LT_S("tls-ticket-name")},
                               of_cipher = {.purpose = LT_S("tls-ticket")}, of_mac = {.purpose = LT_S("tls-ticket-mac")};
        lt_key_derive(&ring->keys[i], of_name, name);
        memcpy(k->name, name, LT_TICKET_NAME);
        lt_key_derive(&ring->keys[i], of_cipher, k->cipher);
        lt_key_derive(&ring->keys[i], of_mac, k->mac);
    }
    return cbc != NULL;
}

void lt_ticket_keys_wipe(struct lt_ticket_keys *keys) {
    OPENSSL_cleanse(keys, sizeof *keys);
}

static bool set_mac(EVP_MAC_CTX *mac, const struct lt_ticket_key *k) {
    char digest[] = "SHA256";
    OSSL_PARAM params[] = {
        OSSL_PARAM_construct_octet_string(OSSL_MAC_PARAM_KEY, (void *)(uintptr_t)k->mac, sizeof k->mac),
        OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, digest, 0), OSSL_PARAM_construct_end()};
    return EVP_MAC_CTX_set_params(mac, params) == 1;
}

static int issue_ticket(const struct lt_ticket_keys *keys, unsigned char *name, unsigned char *iv,
                        EVP_CIPHER_CTX *cipher, EVP_MAC_CTX *mac) {
    const struct lt_ticket_key *k = &keys->v[0];
    if (keys->n == 0 || RAND_bytes(iv, EVP_CIPHER_get_iv_length(cbc)) != 1 ||
        EVP_EncryptInit_ex2(cipher, cbc, k->cipher, iv, NULL) != 1 || !set_mac(mac, k))
        return -1;
    memcpy(name, k->name, LT_TICKET_NAME);
    return 1;
}

int lt_ticket_keys_use(const struct lt_ticket_keys *keys, unsigned char *name, unsigned char *iv,
                       EVP_CIPHER_CTX *cipher, EVP_MAC_CTX *mac, bool issue) {
    if (issue)
        return issue_ticket(keys, name, iv, cipher, mac);
    for (unsigned i = 0; i < keys->n; i++) {
        const struct lt_ticket_key *k = &keys->v[i];
        if (memcmp(k->name, name, LT_TICKET_NAME) != 0)
            continue;
        if (EVP_DecryptInit_ex2(cipher, cbc, k->cipher, iv, NULL) != 1 || !set_mac(mac, k))
            return -1;
        return i == 0 ? 1 : 2;
    }
    return 0;
}
