// SPDX-License-Identifier: Apache-2.0
#include "crypto/keys.h"

#include "base/log.h"
#include "tests/rig/leaks.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

TestSuite(keys, .fini = lt_rig_leaks);

#define SECRET "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"

Test(keys, from_the_option_and_from_a_file) {
    struct lt_key_ring ring;
    char error[600], path[] = "/tmp/lethe-keys-XXXXXX", option[64];
    cr_assert(lt_keys_load(&ring, LT_S("a:" SECRET), error, sizeof error), "%s", error);
    int fd = mkstemp(path);
    cr_assert(fd >= 0 && write(fd, "# ours\nb:" SECRET "\n", 9 + 43) == 9 + 43);
    close(fd);
    snprintf(option, sizeof option, "file:%s", path);
    cr_assert(lt_keys_load(&ring, lt_span_cstr(option), error, sizeof error), "%s", error);
    cr_assert_str_eq(ring.keys[0].id, "b");
    unlink(path);
    cr_assert_not(lt_keys_load(&ring, lt_span_cstr(option), error, sizeof error));
    cr_assert(strstr(error, "No such file"), "%s", error);
}

static void write_file(const char *dir, const char *name, const char *text) {
    char path[128];
    snprintf(path, sizeof path, "%s/%s", dir, name);
    FILE *f = fopen(path, "w");
    cr_assert(f && fputs(text, f) >= 0 && fclose(f) == 0);
}

static void remove_file(const char *dir, const char *name) {
    char path[128];
    snprintf(path, sizeof path, "%s/%s", dir, name);
    cr_assert_eq(remove(path), 0);
}

Test(keys, from_several_places_in_their_order) {
    struct lt_key_ring ring;
    char error[600], dir[] = "/tmp/lethe-keys-XXXXXX", option[256];
    cr_assert(mkdtemp(dir));
    write_file(dir, "20", "old:" SECRET "\n");
    write_file(dir, "10", "new:" SECRET "\nnewer:" SECRET "\n");
    write_file(dir, ".hidden", "nonsense");
    snprintf(option, sizeof option, "first:" SECRET ", dir:%s last:" SECRET, dir);
    cr_assert(lt_keys_load(&ring, lt_span_cstr(option), error, sizeof error), "%s", error);
    static const char *const ids[] = {"first", "new", "newer", "old", "last"};
    cr_assert_eq(ring.n, 5);
    for (unsigned i = 0; i < 5; i++)
        cr_assert_str_eq(ring.keys[i].id, ids[i]);
    uint64_t stamp = lt_keys_stamp(lt_span_cstr(option));
    cr_assert(stamp && stamp == lt_keys_stamp(lt_span_cstr(option)));
    write_file(dir, "20", "old:" SECRET "\nold:" SECRET "\n");
    cr_assert_neq(stamp, lt_keys_stamp(lt_span_cstr(option)));
    cr_assert_not(lt_keys_load(&ring, lt_span_cstr(option), error, sizeof error));
    cr_assert(strstr(error, "/20: key 2 has the id of an earlier one") && ring.n == 0, "%s", error);
    stamp = lt_keys_stamp(lt_span_cstr(option));
    remove_file(dir, "20");
    cr_assert_neq(stamp, lt_keys_stamp(lt_span_cstr(option)));
    remove_file(dir, "10");
    cr_assert_not(lt_keys_load(&ring, lt_span_cstr(option), error, sizeof error));
    cr_assert(strstr(error, "there is no file with a key"), "%s", error);
    remove_file(dir, ".hidden");
    rmdir(dir);
    cr_assert_not(lt_keys_load(&ring, lt_span_cstr(option), error, sizeof error));
    cr_assert(strstr(error, "No such file"), "%s", error);
    cr_assert_eq(lt_keys_stamp(LT_S("a:" SECRET)), 0);
}

Test(keys, without_the_option) {
    struct lt_key_ring a, b;
    lt_log_setup(LT_LOG_ERROR, LT_LOG_TEXT);
    cr_assert(lt_keys_default(&a, true) && lt_keys_default(&b, true));
    cr_assert_arr_eq(a.keys[0].secret, b.keys[0].secret, LT_KEY_BYTES, "all workers of the process share it");
    unsigned sum = 0;
    for (int i = 0; i < LT_KEY_BYTES; i++)
        sum |= a.keys[0].secret[i];
    cr_assert_neq(sum, 0);
    cr_assert(lt_keys_default(&b, false));
    cr_assert_str_eq(b.keys[0].id, "none");
}
