// SPDX-License-Identifier: Apache-2.0
// Between the rig's own files.
#pragma once

// The test or the module broke a rule: one line on stderr, then abort().
_Noreturn void rig_die(const char *format, ...) __attribute__((format(printf, 1, 2)));
