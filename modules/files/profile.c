// SPDX-License-Identifier: Apache-2.0
#include "modules/files/profile.h"

#include <ctype.h>

// FACTS sections 3 to 5; each is proven by its end-to-end test.
static const struct files_profile profiles[] = {
    {.name = "php", .cookie = "PHPSESSID", .patterns = {"sess_{id}"}, .barrier = BARRIER_FLOCK, .holds = true},
    {.name = "codeigniter", .cookie = "ci_session", .patterns = {"ci_session{id}"}, .barrier = BARRIER_FLOCK, .holds = true},
    {.name = "laravel", .cookie = "laravel_session", .patterns = {"{id}"}, .barrier = BARRIER_FLOCK},
    {.name = "tomcat", .cookie = "JSESSIONID", .patterns = {"{id}.session"}, .barrier = BARRIER_RENAME, .always = true},
    {.name = "django", .cookie = "sessionid", .patterns = {"sessionid{id}"}, .barrier = BARRIER_RENAME},
    {.name = "cherrypy",
     .cookie = "session_id",
     .patterns = {"session-{id}"},
     .barrier = BARRIER_LOCK,
     .lock = ".lock",
     .holds = true},
    {.name = "cgi-session", .cookie = "CGISESSID", .patterns = {"cgisess_{id}"}, .barrier = BARRIER_FLOCK},
    {.name = "rack-file", .cookie = "rack.session", .patterns = {"{id}"}, .barrier = BARRIER_CLOSE},
    {.name = "node-file-store", .cookie = "connect.sid", .id = ID_SIGNED, .patterns = {"{id}.json"}, .barrier = BARRIER_RENAME},
    {.name = "custom", .cookie = ""},
};

const char *const files_profile_names[] = {
    "",         "php",         "codeigniter", "laravel",         "tomcat", "django",
    "cherrypy", "cgi-session", "rack-file",   "node-file-store", "custom", NULL,
};
_Static_assert(sizeof files_profile_names / sizeof *files_profile_names == sizeof profiles / sizeof *profiles + 2,
               "a name for each profile, in the same order");

const struct files_profile *files_profile_of(int choice) {
    return choice > 0 ? &profiles[choice - 1] : NULL;
}

static bool is_id_char(char c) {
    return isalnum((unsigned char)c) || (c && strchr(",._~=+-", c));
}

bool files_id(enum files_id kind, struct lt_span value, char id[FILES_ID_MAX], size_t *n) {
    if (!lt_span_percent_decode(value, id, FILES_ID_MAX, n))
        return false;
    if (kind == ID_SIGNED) {
        char *dot = memrchr(id, '.', *n);
        if (*n < 3 || memcmp(id, "s:", 2) != 0 || !dot)
            return false;
        *n = (size_t)(dot - id) - 2;
        memmove(id, id + 2, *n);
    }
    for (size_t i = 0; i < *n; i++)
        if (!is_id_char(id[i]))
            return false;
    return *n > 0 && id[0] != '.';
}

// The next piece of a pattern: a text, or a "{…}". False: none is left.
static bool next_piece(struct lt_span *rest, struct lt_span *piece) {
    if (rest->n == 0)
        return false;
    size_t brace = lt_span_find(*rest, '{');
    size_t n = brace ? brace : lt_span_find(*rest, '}') + 1;
    *piece = lt_span(rest->p, n < rest->n ? n : rest->n);
    *rest = lt_span(rest->p + piece->n, rest->n - piece->n);
    return true;
}

// What stands for a piece. `.p` NULL: it is none, or the id is too short.
static struct lt_span expand(struct lt_span piece, struct lt_span id) {
    if (piece.p[0] != '{')
        return piece;
    if (lt_span_eq(piece, LT_S("{id}")))
        return id;
    size_t n = piece.n == 3 && piece.p[1] >= '1' && piece.p[1] <= '9' ? (size_t)(piece.p[1] - '0') : 0;
    return n && n <= id.n ? lt_span(id.p, n) : lt_span(NULL, 0);
}

bool files_name(const char *pattern, struct lt_span id, unsigned depth, char out[FILES_NAME_MAX]) {
    struct lt_span rest = lt_span_cstr(pattern), piece;
    size_t n = 0;
    if (id.n < depth || 2 * (size_t)depth + 1 > FILES_NAME_MAX)
        return false;
    for (unsigned i = 0; i < depth; i++) {
        out[n++] = id.p[i];
        out[n++] = '/';
    }
    while (next_piece(&rest, &piece)) {
        struct lt_span text = expand(piece, id);
        if (!text.p || n + text.n >= FILES_NAME_MAX)
            return false;
        memcpy(out + n, text.p, text.n);
        n += text.n;
    }
    out[n] = '\0';
    return true;
}

const char *files_pattern_check(struct lt_span pattern) {
    static const char advice[] =
        "write a file name with \"{id}\" such as \"sess_{id}\" or \"{1}/{2}/{id}.cache\", below files.dir";
    static const struct lt_span sample = {"0123456789", 10};
    struct lt_span rest = pattern, piece;
    bool has_id = false;
    if (pattern.n == 0 || pattern.n > FILES_NAME_MAX - FILES_ID_MAX || pattern.p[0] == '/')
        return advice;
    while (next_piece(&rest, &piece)) {
        has_id = has_id || lt_span_eq(piece, LT_S("{id}"));
        if (!expand(piece, sample).p || (piece.n >= 2 && memmem(piece.p, piece.n, "..", 2)))
            return advice;
    }
    return has_id ? NULL : advice;
}
