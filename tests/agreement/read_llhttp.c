// SPDX-License-Identifier: Apache-2.0
// llhttp's reading, with its callbacks, strict, no lenient flag.
#include "tests/agreement/reading.h"
#include "tests/fuzz/check.h"

#include <llhttp.h>

struct state {
    struct reading *r;
    const struct message *m;
    bool complete;
};

static struct state *state(llhttp_t *p) {
    return p->data;
}

static struct fields *fields(llhttp_t *p) {
    return p->flags & F_TRAILING ? &state(p)->r->trailers : &state(p)->r->fields;
}

static int on_method(llhttp_t *p, const char *at, size_t n) {
    reading_append(state(p)->r, &state(p)->r->method, lt_span(at, n));
    return 0;
}

static int on_url(llhttp_t *p, const char *at, size_t n) {
    reading_append(state(p)->r, &state(p)->r->target, lt_span(at, n));
    return 0;
}

// One call a name: the input is whole. One or more calls a value: a folded one comes line by line.
static int on_header_field(llhttp_t *p, const char *at, size_t n) {
    struct fields *f = fields(p);
    CHECK(f->n < FIELDS_MAX);
    f->v[f->n] = (struct field){{NULL, 0}, {NULL, 0}};
    reading_append(state(p)->r, &f->v[f->n++].name, lt_span(at, n));
    return 0;
}

static int on_header_value(llhttp_t *p, const char *at, size_t n) {
    struct fields *f = fields(p);
    CHECK(f->n > 0);
    reading_append(state(p)->r, &f->v[f->n - 1].value, lt_span(at, n));
    return 0;
}

static int on_headers_complete(llhttp_t *p) {
    struct reading *r = state(p)->r;
    r->head = true;
    r->major = p->http_major;
    r->minor = p->http_minor;
    r->status = p->status_code;
    r->upgrade = p->upgrade;
    return state(p)->m->kind == RESPONSE_TO_HEAD;
}

static int on_body(llhttp_t *p, const char *at, size_t n) {
    reading_append(state(p)->r, &state(p)->r->body, lt_span(at, n));
    return 0;
}

static int on_message_complete(llhttp_t *p) {
    state(p)->complete = true;
    return HPE_PAUSED; // the next message is not this one's matter
}

static const llhttp_settings_t settings = {
    .on_method = on_method,
    .on_url = on_url,
    .on_header_field = on_header_field,
    .on_header_value = on_header_value,
    .on_headers_complete = on_headers_complete,
    .on_body = on_body,
    .on_message_complete = on_message_complete,
};

static void trim(struct fields *f) {
    for (unsigned i = 0; i < f->n; i++)
        f->v[i].value = lt_span_trim(f->v[i].value);
}

void read_by_llhttp(const struct message *m, struct reading *r) {
    llhttp_t p;
    struct state s = {.r = r, .m = m};
    reading_reset(r);
    llhttp_init(&p, m->kind == REQUEST ? HTTP_REQUEST : HTTP_RESPONSE, &settings);
    p.data = &s;
    enum llhttp_errno e = llhttp_execute(&p, m->text.p, m->text.n);
    r->end = s.complete ? (size_t)(llhttp_get_error_pos(&p) - m->text.p) : m->text.n;
    if (e == HPE_OK && p.finish == HTTP_FINISH_SAFE_WITH_CB)
        CHECK(llhttp_finish(&p) == HPE_PAUSED && s.complete); // the input's end is the connection's
    if (s.complete) {
        r->verdict = WHOLE;
    } else if (e != HPE_OK) {
        r->verdict = REFUSED;
        r->error = llhttp_get_error_reason(&p);
    } else {
        r->verdict = r->head ? WITHIN_BODY : WITHIN_HEAD;
    }
    trim(&r->fields);
    trim(&r->trailers);
}
