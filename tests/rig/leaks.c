// SPDX-License-Identifier: Apache-2.0
#include "leaks.h"

#include <stdlib.h>

#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/lsan_interface.h>
#endif

void lt_rig_leaks(void) {
#ifdef __SANITIZE_ADDRESS__
    if (__lsan_do_recoverable_leak_check())
        abort();
#endif
}
