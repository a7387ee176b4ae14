// SPDX-License-Identifier: Apache-2.0
// `agreement CORPUS [COUNT [SEED]]`: reads every written case, every seed of the fuzz targets in CORPUS and COUNT mutations of them with lethe
// and with llhttp. A difference that differences.c does not explain ends it with 1, and so does a row that explains nothing.
#include "tests/agreement/cases.h"
#include "tests/agreement/rewrite.h"
#include "tests/fuzz/check.h"

#include <dirent.h>
#include <limits.h>

enum { BASES_MAX = 1024, ROWS_MAX = 128, SHOWN = 10 };

static struct message bases[BASES_MAX];
static unsigned bases_n, own_n; // from own_n on their texts are ours
static struct reading by_lethe, by_llhttp, anew_by_lethe, anew_by_llhttp;
static unsigned long tried, accepted, rewritten, explained[ROWS_MAX], failures;
static struct lt_span examples[ROWS_MAX]; // the shortest message of each row
static enum kind example_kinds[ROWS_MAX];

static struct lt_span copy(struct lt_span s) {
    char *p = malloc(s.n + 1);
    CHECK(p);
    memcpy(p, s.p, s.n);
    return lt_span(p, s.n);
}

static void keep_example(unsigned row, const struct message *m) {
    if (examples[row].p && examples[row].n <= m->text.n)
        return;
    free((void *)examples[row].p);
    examples[row] = copy(m->text);
    example_kinds[row] = m->kind;
}

static const char *kind_name(enum kind kind) {
    return kind == REQUEST ? "request" : kind == RESPONSE ? "response" : "response to HEAD";
}

static void fail(const struct message *m, const char *what) {
    if (failures++ >= SHOWN)
        return;
    printf("NOT EXPLAINED: %s: lethe %s, llhttp %s\n  %s from \"%s\": ", what, reading_says(&by_lethe),
           reading_says(&by_llhttp), kind_name(m->kind), m->name);
    print_quoted(m->text);
    putchar('\n');
}

// The next message stands behind what is written, as on a connection that is used again.
static void try_rewritten(const struct message *m) {
    struct lt_buf out;
    lt_buf_init(&out, 4 * MESSAGE_MAX);
    rewrite_by_lethe(m, &out);
    size_t size = out.len;
    if (size < MESSAGE_MAX - 100) {
        CHECK(lt_buf_append(&out, m->kind == REQUEST ? LT_S("GET /2 HTTP/1.1\r\n\r\n") : LT_S("HTTP/1.1 204 \r\n\r\n")));
        bool bodiless = m->kind != REQUEST && (by_lethe.status < 200 || by_lethe.status == 304);
        struct message anew = {"what lethe writes", bodiless ? RESPONSE_TO_HEAD : m->kind, lt_buf_span(&out)};
        read_by_lethe(&anew, &anew_by_lethe);
        read_by_llhttp(&anew, &anew_by_llhttp);
        const char *what = rewritten_differs(&by_lethe, &anew_by_lethe, &anew_by_llhttp, size);
        if (what)
            fail(m, what);
        rewritten++;
    }
    lt_buf_fini(&out);
}

static void try_message(const struct message *m) {
    const char *what;
    read_by_lethe(m, &by_lethe);
    read_by_llhttp(m, &by_llhttp);
    enum outcome outcome = compare(&by_lethe, &by_llhttp, &what);
    tried++;
    accepted += outcome == SAME && by_lethe.verdict == WHOLE;
    bool connect = lt_span_eq(by_lethe.method, LT_S("CONNECT")); // which goes nowhere
    if (by_lethe.verdict == WHOLE && !connect && (m->kind != REQUEST || llhttp_knows(by_lethe.method)))
        try_rewritten(m);
    if (outcome == SAME)
        return;
    unsigned row = explain(outcome, what, m, &by_lethe, &by_llhttp);
    if (row == differences_n) {
        fail(m, what ? what : "the verdict");
        return;
    }
    explained[row]++;
    keep_example(row, m);
}

static void add_base(const char *name, enum kind kind, struct lt_span text) {
    CHECK(bases_n < BASES_MAX && text.n <= MESSAGE_MAX);
    bases[bases_n++] = (struct message){name, kind, text};
}

// What the first byte of a seed says, tests/fuzz/head.c and chunked.c tell.
static void add_seed(const char *name, bool chunked, const char *data, size_t n) {
    static const struct lt_span heads[] = {LT_S("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"),
                                           LT_S("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")};
    char text[MESSAGE_MAX];
    if (n == 0)
        return;
    if (!chunked) {
        enum kind kind = !(data[0] & 1) ? REQUEST : (data[0] >> 1 & 3) == 1 ? RESPONSE_TO_HEAD : RESPONSE;
        add_base(name, kind, copy(lt_span(data + 1, n - 1)));
        return;
    }
    for (unsigned i = 0; i < 2 && heads[i].n + n <= sizeof text; i++) {
        memcpy(text, heads[i].p, heads[i].n);
        memcpy(text + heads[i].n, data + 1, n - 1);
        add_base(name, i ? RESPONSE : REQUEST, copy(lt_span(text, heads[i].n + n - 1)));
    }
}

// False: the folder cannot be read.
static bool add_seeds(const char *corpus, const char *target) {
    char path[PATH_MAX], data[MESSAGE_MAX];
    snprintf(path, sizeof path, "%s/%s", corpus, target);
    struct dirent **names;
    int n = scandir(path, &names, NULL, alphasort); // a seed gives the same messages whatever the order on disk
    for (int i = 0; i < n; i++) {
        snprintf(path, sizeof path, "%s/%s/%s", corpus, target, names[i]->d_name);
        FILE *f = names[i]->d_name[0] == '.' ? NULL : fopen(path, "rb");
        if (f) {
            add_seed(target, strcmp(target, "chunked") == 0, data, fread(data, 1, sizeof data, f));
            fclose(f);
        }
        free(names[i]);
    }
    if (n >= 0)
        free(names);
    return n > 2;
}

static void try_cases(void) {
    for (unsigned i = 0; i < cases_n; i++) {
        const struct message *m = &cases[i].message;
        try_message(m);
        bool ok = cases[i].reason ? by_lethe.verdict == REFUSED && by_lethe.reason == cases[i].reason
                                  : by_lethe.verdict != REFUSED && by_lethe.head;
        if (!ok) {
            printf("\"%s\": lethe %s, but should %s\n", m->name, reading_says(&by_lethe),
                   cases[i].reason ? lt_h1_reason_name(cases[i].reason) : "accept it");
            failures++;
        }
        add_base(m->name, m->kind, m->text);
        for (int more = by_lethe.verdict == WHOLE ? 3 : 0; more; more--) // what is wrong already seldom becomes right
            add_base(m->name, m->kind, m->text);
    }
}

// Would a difference be seen at all? Two messages that differ in one thing must not compare as the same.
static void try_comparison(void) {
#define POST(rest) LT_S("POST /x HTTP/1.1\r\nHost: a\r\n" rest)
    static const struct lt_span pairs[][2] = {
        {POST("Content-Length: 1\r\n\r\nab"), LT_S("PUT /x HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nab")},
        {POST("Content-Length: 1\r\n\r\nab"), LT_S("POST /y HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nab")},
        {POST("\r\n"), LT_S("POST /x HTTP/1.0\r\nHost: a\r\n\r\n")},
        {POST("X: a\r\n\r\n"), POST("X: b\r\n\r\n")},
        {POST("X: a\r\n\r\n"), POST("Y: a\r\n\r\n")},
        {POST("X: a\r\n\r\n"), POST("X: a\r\nX: a\r\n\r\n")},
        {POST("Transfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\n"),
         POST("Transfer-Encoding: chunked\r\n\r\n1\r\nb\r\n0\r\n\r\n")},
        {POST("Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n"), POST("Transfer-Encoding: chunked\r\n\r\n00\r\n\r\n")},
        {POST("Transfer-Encoding: chunked\r\n\r\n0\r\nX: a\r\n\r\n"),
         POST("Transfer-Encoding: chunked\r\n\r\n0\r\nX: b\r\n\r\n")},
        {POST("Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n"), POST("Transfer-Encoding: chunked\r\n\r\n0\r\n")},
        {POST("Connection: upgrade\r\nUpgrade: a\r\n\r\n"), POST("Connection: xpgrade\r\nUpgrade: a\r\n\r\n")},
    };
    for (unsigned i = 0; i < sizeof pairs / sizeof *pairs; i++) {
        const char *what;
        struct message a = {"pair", REQUEST, pairs[i][0]}, b = {"pair", REQUEST, pairs[i][1]};
        read_by_lethe(&a, &by_lethe);
        read_by_llhttp(&b, &by_llhttp);
        CHECK(compare(&by_lethe, &by_llhttp, &what) == DIFFERENT);
    }
}

static void print_rows(void) {
    static const char *const titles[OUTCOMES] = {
        [STRICTER] = "lethe refuses, llhttp accepts", [LOOSER] = "lethe accepts, llhttp refuses", [DIFFERENT] = "read differently"};
    for (unsigned i = 0; i < differences_n; i++) {
        const struct difference *d = &differences[i];
        if (i == 0 || d->outcome != differences[i - 1].outcome)
            printf("\n%s\n", titles[d->outcome]);
        printf("%8lu  %s (%s): %s\n", explained[i], d->name,
               d->outcome == STRICTER ? d->reason == LT_H1_REASONS ? "any" : lt_h1_reason_name(d->reason) : d->says,
               d->why);
        if (explained[i] == 0) {
            printf("          NEVER SEEN: take the row out, or write the case that needs it\n");
            failures++;
            continue;
        }
        printf("          %s ", kind_name(example_kinds[i]));
        print_quoted(examples[i]);
        putchar('\n');
        free((void *)examples[i].p);
    }
}

int main(int argc, char **argv) {
    unsigned long count = argc > 2 ? strtoul(argv[2], NULL, 10) : 300000;
    unsigned long long seed = argc > 3 ? strtoull(argv[3], NULL, 10) : 9112;
    if (argc < 2 || argc > 4 || seed == 0) {
        fprintf(stderr, "usage: agreement CORPUS [COUNT [SEED]]\n");
        return 2;
    }
    CHECK(differences_n <= ROWS_MAX);
    try_comparison();
    try_cases();
    own_n = bases_n;
    CHECK(add_seeds(argv[1], "head") && add_seeds(argv[1], "chunked"));
    for (unsigned i = own_n; i < bases_n; i++)
        try_message(&bases[i]);
    for (unsigned long i = 0; i < count; i++) {
        struct message m = mutate(&seed, bases, bases_n);
        try_message(&m);
    }
    print_rows();
    printf("\n%lu messages, %lu read whole and alike, %lu written anew, %lu failures\n", tried, accepted, rewritten,
           failures);
    if (accepted < tried / 10) {
        printf("too few are read whole and alike: this would be about refusals only\n");
        failures++;
    }
    for (unsigned i = own_n; i < bases_n; i++)
        free((void *)bases[i].text.p);
    return failures ? 1 : 0;
}
