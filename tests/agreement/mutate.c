// SPDX-License-Identifier: Apache-2.0
#include "tests/agreement/cases.h"

static char text[MESSAGE_MAX];
static size_t length;

// What turns one message into another in a parser's eyes.
static const struct lt_span words[] = {LT_S("\r\n"),
                                       LT_S("\n"),
                                       LT_S("\r"),
                                       LT_S("\r\n\r\n"),
                                       LT_S("\r\n "),
                                       LT_S("\r\n\t"),
                                       LT_S(" "),
                                       LT_S("\t"),
                                       LT_S("\0"),
                                       LT_S("\v"),
                                       LT_S("\x7f"),
                                       LT_S("\x80"),
                                       LT_S("\xff"),
                                       LT_S(":"),
                                       LT_S(": "),
                                       LT_S(" :"),
                                       LT_S(","),
                                       LT_S(", "),
                                       LT_S(";"),
                                       LT_S(";a=b"),
                                       LT_S(";a=\"b\""),
                                       LT_S("\""),
                                       LT_S("\\"),
                                       LT_S("#"),
                                       LT_S("?"),
                                       LT_S("*"),
                                       LT_S("@"),
                                       LT_S("/"),
                                       LT_S("//"),
                                       LT_S("0"),
                                       LT_S("1"),
                                       LT_S("3"),
                                       LT_S("a"),
                                       LT_S("F"),
                                       LT_S("0x"),
                                       LT_S("+"),
                                       LT_S("-"),
                                       LT_S("_"),
                                       LT_S("."),
                                       LT_S("000000000000000"),
                                       LT_S("ffffffffffffffff"),
                                       LT_S("9223372036854775808"),
                                       LT_S("18446744073709551617"),
                                       LT_S("GET "),
                                       LT_S("HEAD "),
                                       LT_S("POST "),
                                       LT_S("OPTIONS * "),
                                       LT_S("CONNECT a:1 "),
                                       LT_S("BREW "),
                                       LT_S("http://a"),
                                       LT_S(" HTTP/1.1\r\n"),
                                       LT_S(" HTTP/1.0\r\n"),
                                       LT_S(" HTTP/1.2\r\n"),
                                       LT_S("HTTP/1.1 200 OK\r\n"),
                                       LT_S(" 101 "),
                                       LT_S(" 204 "),
                                       LT_S(" 304 "),
                                       LT_S("\r\nHost: a"),
                                       LT_S("\r\nHost: b"),
                                       LT_S("\r\nX: a"),
                                       LT_S("\r\nContent-Length: 3"),
                                       LT_S("\r\nContent-Length: 0"),
                                       LT_S("\r\nContent-Length: 4"),
                                       LT_S("\r\nContent-Length: 3, 3"),
                                       LT_S("\r\nTransfer-Encoding: chunked"),
                                       LT_S("\r\nTransfer-Encoding: gzip"),
                                       LT_S("chunked"),
                                       LT_S("identity"),
                                       LT_S("gzip, "),
                                       LT_S("\r\nConnection: close"),
                                       LT_S("\r\nConnection: keep-alive"),
                                       LT_S("\r\nConnection: upgrade"),
                                       LT_S("\r\nUpgrade: websocket"),
                                       LT_S("\r\nProxy-Connection: upgrade"),
                                       LT_S("\r\nExpect: 100-continue"),
                                       LT_S("\r\nTrailer: X"),
                                       LT_S("3\r\nabc\r\n"),
                                       LT_S("0\r\n"),
                                       LT_S("0\r\n\r\n"),
                                       LT_S("\r\n0\r\n\r\n"),
                                       LT_S("GET /2 HTTP/1.1\r\nHost: a\r\n\r\n")};

// xorshift64*: the same messages everywhere.
static size_t below(unsigned long long *seed, size_t n) {
    unsigned long long x = *seed;
    x ^= x >> 12;
    x ^= x << 25;
    x ^= x >> 27;
    *seed = x;
    return n ? (size_t)(x * 0x2545f4914f6cdd1dULL >> 33) % n : 0;
}

// Puts `with` in the place of the n bytes at `at`.
static void replace(size_t at, size_t n, struct lt_span with) {
    char copy[4096]; // `with` may lie in `text`
    if (with.n > sizeof copy || length - n + with.n > sizeof text)
        return;
    memcpy(copy, with.p, with.n);
    memmove(text + at + with.n, text + at + n, length - at - n);
    memcpy(text + at, copy, with.n);
    length = length - n + with.n;
}

// The line that holds the byte at `at`, with its LF.
static struct lt_span line_of(size_t at) {
    size_t from = at, to = at;
    while (from > 0 && text[from - 1] != '\n')
        from--;
    while (to < length && text[to] != '\n')
        to++;
    return lt_span(text + from, (to < length ? to + 1 : to) - from);
}

static void change(unsigned long long *seed, const struct message *other) {
    size_t at = below(seed, length + 1), n = below(seed, 8), from;
    struct lt_span line = line_of(at);
    n = n < length - at ? n : length - at;
    switch (below(seed, 12)) {
    case 0:
    case 1:
    case 2: // a word more
        replace(at, 0, words[below(seed, sizeof words / sizeof *words)]);
        break;
    case 3: // a word in the place of some bytes
        replace(at, n, words[below(seed, sizeof words / sizeof *words)]);
        break;
    case 4: // at a line's end, where most rules are about
        at = (size_t)(line.p - text) + line.n;
        n = line.n < 3 ? line.n : 1 + below(seed, 3);
        replace(at - n, below(seed, n + 1), words[below(seed, sizeof words / sizeof *words)]);
        break;
    case 5: // any byte
        if (at < length)
            text[at] = (char)below(seed, 256);
        break;
    case 6: // another case
        if (at < length && ((text[at] | 0x20) >= 'a' && (text[at] | 0x20) <= 'z'))
            text[at] ^= 0x20;
        break;
    case 7: // fewer bytes
        replace(at, n, lt_span("", 0));
        break;
    case 8: // a line twice
        replace((size_t)(line.p - text), 0, line);
        break;
    case 9: // a line that goes elsewhere
        replace((size_t)(line_of(below(seed, length + 1)).p - text), 0, line);
        break;
    case 10: // the rest of another message
        from = below(seed, other->text.n + 1);
        replace(at, length - at, lt_span(other->text.p + from, other->text.n - from));
        break;
    default: // the input ends
        if (below(seed, 4) == 0)
            length = at;
    }
}

struct message mutate(unsigned long long *seed, const struct message *bases, unsigned n) {
    struct message m = bases[below(seed, n)];
    length = m.text.n;
    memcpy(text, m.text.p, length);
    for (size_t changes = 1 + below(seed, 2) * below(seed, 4); changes; changes--) // mostly one: else few stay valid
        change(seed, &bases[below(seed, n)]);
    m.text = lt_span(text, length);
    return m;
}
