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
