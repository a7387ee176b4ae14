// SPDX-License-Identifier: Apache-2.0
// What lethe sends on in the place of a message: the head and the body written anew, as proxy/relay.c does.
#include "tests/agreement/rewrite.h"

#include "http/h1_write.h"
#include "tests/fuzz/check.h"

// As decide_framing() in proxy/relay.c does it for an HTTP/1.1 client.
static struct lt_h1_out framing_of(const struct message *m, const struct lt_h1_head *head, const struct lt_framing *f) {
    struct lt_h1_out how = {.kind = f->kind, .length = f->length, .upgrade = f->upgrade_protocol};
    const struct lt_header *length = lt_headers_get(&head->headers, LT_HDR_CONTENT_LENGTH);
    unsigned long long n = 0;
    struct lt_span first, list = length ? length->value : LT_S("");
    if (f->kind == LT_BODY_CLOSE)
        how.kind = LT_BODY_CHUNKED;
    if (m->kind == REQUEST || f->kind != LT_BODY_NONE || head->status < 200 || head->status == 204)
        return how;
    if (length && lt_span_next(&list, &first) && lt_span_to_u64(first, INT64_MAX, &n)) {
        how.kind = LT_BODY_LENGTH;
        how.length = n;
        how.head_length = true;
    } else if (lt_headers_get(&head->headers, LT_HDR_TRANSFER_ENCODING)) {
        how.kind = LT_BODY_CHUNKED;
        how.head_length = true;
    }
    return how;
}

static void write_body(const struct lt_framing *f, bool chunked, struct lt_span in, struct lt_arena *arena,
                       struct lt_buf *out) {
    struct lt_body body;
    struct lt_span data;
    enum lt_body_status status;
    char frame[20];
    lt_body_init(&body, f, arena);
    while ((status = lt_body_read(&body, &in, &data)) == LT_BODY_DATA) {
        if (chunked)
            CHECK(lt_buf_append(out, lt_span(frame, lt_h1_chunk_head(frame, data.n))));
        CHECK(lt_buf_append(out, data));
        if (chunked)
            CHECK(lt_buf_append(out, LT_S("\r\n")));
    }
    CHECK(status == LT_BODY_END || f->kind == LT_BODY_CLOSE);
    if (chunked)
        CHECK(lt_h1_write_last_chunk(out, &body.trailers));
    lt_body_fini(&body);
}

void rewrite_by_lethe(const struct message *m, struct lt_buf *out) {
    struct lt_arena arena;
    struct lt_h1_parser parser;
    struct lt_h1_head head;
    struct lt_framing f;
    lt_arena_init(&arena, 4 * MESSAGE_MAX);
    CHECK(lt_h1_parser_init(&parser, &head, &arena, m->kind != REQUEST, MESSAGE_MAX));
    CHECK(lt_h1_parse(&parser, &head, m->text.p, m->text.n) == LT_H1_DONE);
    enum lt_method asked = m->kind == RESPONSE_TO_HEAD ? LT_METHOD_HEAD : LT_METHOD_GET;
    CHECK((m->kind == REQUEST ? lt_framing_request(&head, &f) : lt_framing_response(&head, asked, &f)) == LT_H1_OK);
    struct lt_h1_out how = framing_of(m, &head, &f);
    lt_framing_strip(&head.headers);
    CHECK(m->kind == REQUEST ? lt_h1_write_request(out, &head, &how) : lt_h1_write_response(out, &head, &how));
    write_body(&f, how.kind == LT_BODY_CHUNKED && !how.head_length,
               lt_span(m->text.p + head.size, m->text.n - head.size), &arena, out);
    lt_arena_fini(&arena);
}

const char *rewritten_differs(const struct reading *original, const struct reading *anew, const struct reading *llhttp,
                              size_t size) {
    const char *what;
    bool same_trailers = llhttp->trailers.n == original->trailers.n;
    if (llhttp->verdict != WHOLE || llhttp->end != size)
        return "the end of what lethe writes";
    if (!lt_span_eq(original->method, llhttp->method) || original->status != llhttp->status)
        return "the start line of what lethe writes";
    if (!lt_span_eq(original->body, llhttp->body))
        return "the body of what lethe writes";
    for (unsigned i = 0; same_trailers && i < llhttp->trailers.n; i++)
        same_trailers = lt_span_eq(original->trailers.v[i].name, llhttp->trailers.v[i].name) &&
                        lt_span_eq(original->trailers.v[i].value, llhttp->trailers.v[i].value);
    if (!same_trailers)
        return "the trailers of what lethe writes";
    if (original->upgrade != llhttp->upgrade)
        return "the upgrade of what lethe writes";
    // HTTP/1.0 without Host: lethe itself would not take the empty one that it writes.
    if (anew->verdict == REFUSED && anew->reason == LT_H1_HOST && original->minor == 0)
        return NULL;
    if (anew->verdict == REFUSED && anew->reason == LT_H1_TOO_MANY) // lethe's own lines came on top
        return NULL;
    return compare(anew, llhttp, &what) == SAME ? NULL : what ? what : "the verdict on what lethe writes";
}
