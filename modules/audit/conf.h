// SPDX-License-Identifier: Apache-2.0
// The options of the audit.
#pragma once

#include "config/config.h"

enum { AUDIT_PATHS = 8, AUDIT_OPTIONS = 9 };

struct audit_conf {
    struct lt_option_list paths, allow;
    int64_t pid, max_growth, measure_every, max_watches, max_findings;
    int watch;
    bool enabled;
};

enum audit_watch { AUDIT_WATCH_INOTIFY, AUDIT_WATCH_FANOTIFY };

extern const struct lt_option audit_options[AUDIT_OPTIONS];

// "name" or "prefix*" (`all`: a lone "*" counts as well).
bool audit_names(const struct lt_option_list *names, struct lt_span name, bool all);
