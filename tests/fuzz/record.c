// SPDX-License-Identifier: Apache-2.0
// The session record as the store gives it back: sealed, but a bug or an older key may bring anything.
//   what decodes is encoded to the very same bytes, and is the same record again; what the jar then takes, it can read back.
#include "record.h"
#include "tests/fuzz/check.h"

static void check_spans(const struct lt_record *r) {
    CHECK(r->n_cookies <= LT_RECORD_COOKIES && r->n_contents <= LT_RECORD_CONTENTS && !r->changed);
    CHECK(r->created >= 0 && r->used >= 0);
    for (unsigned i = 0; i < r->n_cookies; i++)
        CHECK(r->cookies[i].name.n && r->cookies[i].expires >= 0 && lt_record_cookie(r, r->cookies[i].name));
    for (unsigned i = 0; i < r->n_contents; i++)
        CHECK(r->contents[i].name.n && lt_record_content(r, r->contents[i].name));
}

static void check_encoded(const struct lt_record *r, struct lt_span want) {
    struct lt_buf out;
    lt_buf_init(&out, want.n);
    CHECK(lt_record_encode(r, &out) && lt_span_eq(lt_buf_span(&out), want));
    lt_buf_fini(&out);
}

// Everything is taken out by its own name, and put again.
static void check_jar(struct lt_record *r) {
    struct lt_record *copy = lt_record_copy(r), *again;
    struct lt_buf out;
    CHECK(copy);
    while (copy->n_cookies)
        CHECK(lt_record_drop_cookie(copy, copy->cookies[copy->n_cookies / 2].name, lt_span(NULL, 0)) > 0);
    while (copy->n_contents)
        lt_record_drop_content(copy, copy->contents[copy->n_contents / 2].name);
    for (unsigned i = 0; i < r->n_cookies; i++)
        CHECK(lt_record_set_cookie(copy, &r->cookies[i]));
    for (unsigned i = 0; i < r->n_contents; i++)
        CHECK(lt_record_set_content(copy, r->contents[i].name, r->contents[i].bytes));
    CHECK(copy->n_cookies <= r->n_cookies && copy->n_contents <= r->n_contents);
    lt_record_expire_cookies(copy, r->used);
    lt_buf_init(&out, 1 << 24);
    CHECK(lt_record_encode(copy, &out));
    again = lt_record_decode(lt_buf_span(&out));
    CHECK(again && again->n_cookies == copy->n_cookies && again->n_contents == copy->n_contents);
    lt_record_free(again);
    lt_record_free(copy);
    lt_buf_fini(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct lt_span in = lt_span((const char *)data, size);
    struct lt_record *r = lt_record_decode(in);
    if (!r)
        return 0;
    check_spans(r);
    check_encoded(r, in);
    struct lt_record *copy = lt_record_copy(r);
    CHECK(copy);
    check_encoded(copy, in);
    lt_record_free(copy);
    check_jar(r);
    lt_record_free(r);
    return 0;
}
