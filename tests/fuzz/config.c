// SPDX-License-Identifier: Apache-2.0
// A configuration file, and below its first line flags, of any content: an answer or findings, never anything else.
#include "config/config.h"
#include "tests/fuzz/check.h"
#include "tests/unit/config/schema.h"

#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

enum { FLAGS = 8 };

// libconfig 1.5 forgets the text of a string at which the file breaks off: some bytes for each such file. A configuration that was loaded and
// not given back is still found.
const char *__lsan_default_suppressions(void);
const char *__lsan_default_suppressions(void) {
    return "leak:strbuf_append\nleak:libconfig_yylex\n";
}

// The input behind the first NUL is split into flags at further NULs.
static unsigned split(char *text, size_t n, char **flags) {
    unsigned count = 0;
    for (size_t i = 0; i < n && count < FLAGS; i += strlen(text + i) + 1)
        flags[count++] = text + i;
    return count;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    char *text = malloc(size + 1), *flags[FLAGS], path[32];
    struct lt_arena arena;
    struct lt_diag diag;
    struct lt_config c;
    memcpy(text, data, size);
    text[size] = '\0';
    size_t file = strlen(text), rest = file < size ? file + 1 : size;
    if (strstr(text, "@include")) { // would read this machine's files
        free(text);
        return 0;
    }
    int fd = memfd_create("lethe.conf", 0);
    CHECK(fd >= 0 && write(fd, text, file) == (ssize_t)file);
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    struct lt_config_input in = {.path = path, .flags = flags, .n_flags = split(text + rest, size - rest, flags)};
    lt_arena_init(&arena, 1 << 20);
    lt_diag_init(&diag, &arena);
    bool ok = lt_config_load(&c, schema_groups, SCHEMA_GROUPS, &in, &diag);
    CHECK(ok == (diag.n == 0));
    if (ok) {
        const struct schema_part *part = lt_config_group(&c, "part");
        CHECK(part->time >= 10 && part->time <= 24 * 3600 * 1000 && part->count >= -5 && part->count <= 100);
        CHECK(((const struct schema_top *)lt_config_group(&c, ""))->name.n);
    }
    lt_config_fini(&c);
    lt_arena_fini(&arena);
    close(fd);
    free(text);
    return 0;
}
