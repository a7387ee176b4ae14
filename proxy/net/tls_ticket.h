// SPDX-License-Identifier: Apache-2.0
// The keys of TLS session tickets, out of the key ring: every replica with the same ring opens what any of them issued. The ring's first
// key issues, all of them open; a ticket under a later key is issued anew under the first.
#pragma once

#include "crypto/key_ring.h"

#include <openssl/ssl.h>

enum { LT_TICKET_NAME = 16 };

struct lt_ticket_keys {
    struct lt_ticket_key {
        unsigned char name[LT_TICKET_NAME], cipher[LT_KEY_BYTES], mac[LT_KEY_BYTES];
    } v[LT_KEYS_MAX];
    unsigned n;
};

// Derives them. False: OpenSSL lacks AES or HMAC.
bool lt_ticket_keys_init(struct lt_ticket_keys *keys, const struct lt_key_ring *ring) __attribute__((warn_unused_result));
void lt_ticket_keys_wipe(struct lt_ticket_keys *keys);

// What SSL_CTX_set_tlsext_ticket_key_evp_cb() asks for: 0 unknown key, 1 good, 2 good but issue a new one, -1 failed.
int lt_ticket_keys_use(const struct lt_ticket_keys *keys, unsigned char *name, unsigned char *iv,
                       EVP_CIPHER_CTX *cipher, EVP_MAC_CTX *mac, bool issue);
