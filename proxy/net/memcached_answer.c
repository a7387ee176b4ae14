// SPDX-License-Identifier: Apache-2.0
#include "net/memcached.h"

enum { LINE_MAX_BYTES = 2048 };

static const struct word {
    struct lt_span text;
    enum lt_memcached_word word;
} words[] = {
    {{"VA", 2}, LT_MEMCACHED_VA},
    {{"HD", 2}, LT_MEMCACHED_HD},
    {{"EN", 2}, LT_MEMCACHED_EN},
    {{"NF", 2}, LT_MEMCACHED_NF},
    {{"NS", 2}, LT_MEMCACHED_NS},
    {{"EX", 2}, LT_MEMCACHED_EX},
    {{"MN", 2}, LT_MEMCACHED_MN},
    {{"STAT", 4}, LT_MEMCACHED_STAT},
    {{"END", 3}, LT_MEMCACHED_END},
    {{"ERROR", 5}, LT_MEMCACHED_ERROR},
    {{"CLIENT_ERROR", 12}, LT_MEMCACHED_ERROR},
    {{"SERVER_ERROR", 12}, LT_MEMCACHED_ERROR},
};

static struct lt_span next_word(struct lt_span *rest) {
    size_t space = lt_span_find(*rest, ' ');
    struct lt_span word = lt_span(rest->p, space);
    size_t skip = space < rest->n ? space + 1 : space;
    *rest = lt_span(rest->p + skip, rest->n - skip);
    return word;
}

static bool find_word(struct lt_span text, enum lt_memcached_word *word) {
    for (unsigned i = 0; i < sizeof words / sizeof *words; i++)
        if (lt_span_eq(text, words[i].text)) {
            *word = words[i].word;
            return true;
        }
    return false;
}

// "c17", "t300", "t-1"; others are passed over.
static bool flag(struct lt_span text, struct lt_memcached_answer *a) {
    unsigned long long n;
    if (text.n == 0)
        return false;
    struct lt_span value = lt_span(text.p + 1, text.n - 1);
    if (text.p[0] == 'c') {
        if (!lt_span_to_u64(value, UINT64_MAX, &n))
            return false;
        a->cas = n;
    } else if (text.p[0] == 't' && !lt_span_eq(value, LT_S("-1"))) {
        if (!lt_span_to_u64(value, INT64_MAX, &n))
            return false;
        a->left = (int64_t)n;
    }
    return true;
}

static bool flags(struct lt_span rest, struct lt_memcached_answer *a) {
    while (rest.n)
        if (!flag(next_word(&rest), a))
            return false;
    return true;
}

static enum lt_err value(struct lt_span in, size_t line, unsigned long long size, size_t max,
                         struct lt_memcached_answer *a, size_t *used) {
    if (size > max)
        return LT_ERR_LIMIT;
    if (in.n - line < size + 2)
        return LT_OK;
    a->data = lt_span(in.p + line, (size_t)size);
    if (memcmp(a->data.p + size, "\r\n", 2) != 0)
        return LT_ERR_PROTOCOL;
    *used = line + (size_t)size + 2;
    return LT_OK;
}

enum lt_err lt_memcached_parse(struct lt_span in, size_t max, struct lt_memcached_answer *a, size_t *used) {
    size_t end = lt_span_find(in, '\n');
    unsigned long long size = 0;
    *a = (struct lt_memcached_answer){.left = -1};
    *used = 0;
    if (end == in.n)
        return in.n > LINE_MAX_BYTES ? LT_ERR_PROTOCOL : LT_OK;
    if (end == 0 || in.p[end - 1] != '\r')
        return LT_ERR_PROTOCOL;
    struct lt_span rest = a->line = lt_span(in.p, end - 1);
    if (!find_word(next_word(&rest), &a->word))
        return LT_ERR_PROTOCOL;
    if (a->word == LT_MEMCACHED_STAT || a->word == LT_MEMCACHED_ERROR) {
        *used = end + 1;
        return LT_OK;
    }
    if (a->word == LT_MEMCACHED_VA && !lt_span_to_u64(next_word(&rest), INT64_MAX, &size))
        return LT_ERR_PROTOCOL;
    if (!flags(rest, a))
        return LT_ERR_PROTOCOL;
    if (a->word == LT_MEMCACHED_VA)
        return value(in, end + 1, size, max, a, used);
    *used = end + 1;
    return LT_OK;
}
