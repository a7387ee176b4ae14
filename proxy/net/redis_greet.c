// SPDX-License-Identifier: Apache-2.0
#include "net/redis_client.h"

#include "base/log.h"

#include <stdio.h>

static bool say(struct lt_redis *r, struct lt_buf *out, enum lt_redis_greeting expected, const struct lt_span *args,
                unsigned n) {
    r->greetings[r->n_greetings++] = expected;
    return lt_redis_format(out, args, n);
}

enum lt_err lt_redis_greet(struct lt_redis *r) {
    struct lt_redis_options *o = &r->options;
    struct lt_buf out;
    bool ok = true;
    lt_buf_init(&out, 4096);
    r->greeting = r->n_greetings = 0;
    if (o->password.n) {
        struct lt_span with_user[] = {LT_S("AUTH"), o->user, o->password}, without[] = {LT_S("AUTH"), o->password};
        ok = o->user.n ? say(r, &out, LT_REDIS_AUTH, with_user, 3) : say(r, &out, LT_REDIS_AUTH, without, 2);
    }
    if (o->database) {
        char number[16];
        int len = snprintf(number, sizeof number, "%u", o->database);
        struct lt_span select[] = {LT_S("SELECT"), lt_span(number, (size_t)len)};
        ok = ok && say(r, &out, LT_REDIS_ANY, select, 2);
    }
    if (o->must_be_master)
        ok = ok && say(r, &out, LT_REDIS_ROLE, &LT_S("ROLE"), 1);
    ok = ok && say(r, &out, LT_REDIS_ANY, &LT_S("PING"), 1);
    struct lt_span text = lt_buf_span(&out);
    enum lt_err e = ok ? lt_stream_write(&r->stream, &text, 1) : LT_ERR_LIMIT;
    lt_buf_fini(&out);
    return e;
}

static bool is_master(const redisReply *reply) {
    return reply->type == REDIS_REPLY_ARRAY && reply->elements && reply->element[0]->type == REDIS_REPLY_STRING &&
           strcmp(reply->element[0]->str, "master") == 0;
}

bool lt_redis_greeted(struct lt_redis *r, const redisReply *reply) {
    enum lt_redis_greeting expected = r->greetings[r->greeting++];
    bool is_error = reply->type == REDIS_REPLY_ERROR;
    // LOADING, MASTERDOWN, NOAUTH, WRONGPASS, NOPERM: nothing can be done on this connection
    if (is_error && !(expected == LT_REDIS_AUTH && r->options.password_is_optional)) {
        if (r->failures == 0 || strncmp(reply->str, "LOADING", 7) != 0)
            LT_LOG(LT_LOG_WARN, "redis_refuses", lt_fs("address", lt_redis_address(r)), lt_fs("error", reply->str));
        return false;
    }
    if (expected == LT_REDIS_ROLE && !is_master(reply)) {
        if (r->failures == 0)
            LT_LOG(LT_LOG_WARN, "redis_is_no_master", lt_fs("address", lt_redis_address(r)),
                   lt_fs("do", "nothing, if a fail-over is under way; else see what the sentinels know"));
        return false;
    }
    if (r->greeting == r->n_greetings)
        lt_redis_serve(r);
    return true;
}
