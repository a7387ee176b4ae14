// SPDX-License-Identifier: Apache-2.0
#include "page.h"

#include <openssl/evp.h>
#include <stdio.h>

// The assembler takes the file in as it is: LT_PAGE is its path, from CMake.
__asm__(".section .rodata\n"
        ".global lt_page_begin, lt_page_end\n"
        "lt_page_begin:\n"
        ".incbin \"" LT_PAGE "\"\n"
        "lt_page_end:\n"
        ".byte 0\n"
        ".previous\n");
extern const char lt_page_begin[], lt_page_end[];

enum { SHA256 = 32, BASE64 = 45 };

struct lt_span lt_page(void) {
    return lt_span(lt_page_begin, (size_t)(lt_page_end - lt_page_begin));
}

// What stands between two tags, each of which the page has once.
static struct lt_span between(const char *open, const char *close) {
    struct lt_span page = lt_page();
    const char *from = memmem(page.p, page.n, open, strlen(open));
    from = from ? from + strlen(open) : page.p;
    const char *to = memmem(from, (size_t)(page.p + page.n - from), close, strlen(close));
    return lt_span(from, to ? (size_t)(to - from) : 0);
}

static bool hash(struct lt_span text, char out[BASE64]) {
    unsigned char digest[SHA256];
    return text.n && EVP_Digest(text.p, text.n, digest, NULL, EVP_sha256(), NULL) == 1 &&
           EVP_EncodeBlock((unsigned char *)out, digest, SHA256) == BASE64 - 1;
}

struct lt_span lt_page_policy(void) {
    static char policy[512];
    char script[BASE64], style[BASE64];
    if (!*policy && hash(between("<script>", "</script>"), script) && hash(between("<style>", "</style>"), style))
        snprintf(
            policy, sizeof policy,
            "default-src 'none'; script-src 'sha256-%s'; style-src 'sha256-%s'; connect-src 'self'; img-src data:; "
            "base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
            script, style);
    return lt_span_cstr(policy);
}
