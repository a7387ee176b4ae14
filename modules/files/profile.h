// SPDX-License-Identifier: Apache-2.0
// What lethe must know of a runtime that keeps sessions in files.
#pragma once

#include "base/span.h"

enum { FILES_NAME_MAX = 400 };

struct files_profile {
    const char *name;   // as the option files.profile has it
    const char *cookie; // the session cookie's default name
    // The file of the session whose cookie has this `value`, relative to the directory, whose fan-out is `depth` levels. False: the runtime would not take this as an id, or
    // it could leave the directory.
    bool (*file)(struct lt_span value, unsigned depth, char out[FILES_NAME_MAX]);
};

extern const struct files_profile files_profile_php;
