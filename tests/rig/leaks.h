// SPDX-License-Identifier: Apache-2.0
// Criterion ends a test's process before LeakSanitizer's own check at exit: without this a leaking test passes.
#pragma once

// For `TestSuite(x, .fini = lt_rig_leaks)`: aborts when something is leaked (ASan builds; else nothing).
void lt_rig_leaks(void);
