// SPDX-License-Identifier: Apache-2.0
// lethe's reading: the head, its framing, the body, as proxy/exchange.c and proxy/relay.c ask for them.
#include "tests/agreement/reading.h"
#include "tests/fuzz/check.h"

static void refuse(struct reading *r, enum lt_h1_reason reason) {
    r->verdict = REFUSED;
    r->reason = reason;
}

static void copy_fields(struct reading *r, const struct lt_headers *from, struct fields *to) {
    for (unsigned i = 0; i < from->n; i++) {
        struct field *f = &to->v[to->n++];
        *f = (struct field){{NULL, 0}, {NULL, 0}};
        reading_append(r, &f->name, from->v[i].name);
        reading_append(r, &f->value, from->v[i].value);
    }
}

static void read_body(struct reading *r, struct lt_span text, size_t head, const struct lt_framing *f,
                      struct lt_arena *arena) {
    struct lt_body body;
    struct lt_span in = lt_span(text.p + head, text.n - head), data;
    enum lt_body_status status;
    lt_body_init(&body, f, arena);
    while ((status = lt_body_read(&body, &in, &data)) == LT_BODY_DATA)
        reading_append(r, &r->body, data);
    copy_fields(r, &body.trailers, &r->trailers);
    if (status == LT_BODY_BAD)
        refuse(r, body.reason);
    else if (status == LT_BODY_END || f->kind == LT_BODY_CLOSE) // the input's end is the connection's
        r->verdict = WHOLE;
    else
        r->verdict = body.line.len ? WITHIN_TRAILER : WITHIN_BODY;
    r->end = text.n - in.n;
    lt_body_fini(&body);
}

static void take_head(struct reading *r, const struct lt_h1_head *head) {
    r->head = true;
    r->method = head->method_text;
    r->target = head->target;
    r->major = 1;
    r->minor = head->minor;
    r->status = head->status;
    copy_fields(r, &head->headers, &r->fields);
}

void read_by_lethe(const struct message *m, struct reading *r) {
    struct lt_arena arena;
    struct lt_h1_parser parser;
    struct lt_h1_head head;
    struct lt_framing framing;
    reading_reset(r);
    lt_arena_init(&arena, 4 * MESSAGE_MAX);
    CHECK(lt_h1_parser_init(&parser, &head, &arena, m->kind != REQUEST, MESSAGE_MAX));
    enum lt_h1_status status = lt_h1_parse(&parser, &head, m->text.p, m->text.n);
    if (status == LT_H1_BAD) {
        refuse(r, parser.reason);
    } else if (status == LT_H1_DONE) {
        enum lt_method asked = m->kind == RESPONSE_TO_HEAD ? LT_METHOD_HEAD : LT_METHOD_GET;
        enum lt_h1_reason reason =
            m->kind == REQUEST ? lt_framing_request(&head, &framing) : lt_framing_response(&head, asked, &framing);
        if (reason != LT_H1_OK) {
            refuse(r, reason);
        } else {
            take_head(r, &head);
            r->upgrade = framing.upgrade;
            read_body(r, m->text, head.size, &framing, &arena);
        }
    }
    lt_arena_fini(&arena);
}
