// SPDX-License-Identifier: Apache-2.0
// Which probe a request asks for: by the option "health.paths" on the main listeners, by its name on the admin listener.
#pragma once

#include "base/span.h"

enum lt_probe { LT_PROBE_LIVEZ, LT_PROBE_READYZ, LT_PROBE_STARTUPZ, LT_PROBE_NONE };

// An entry of health.paths: "/healthz=livez", or "/x/livez". `path`: set to what a request must name. LT_PROBE_NONE: no entry.
enum lt_probe lt_probe_entry(struct lt_span entry, struct lt_span *path);

// On the main listeners. `target`: of a request, with its query; `entries`: the `n` of health.paths.
enum lt_probe lt_probe_by_entries(struct lt_span target, const struct lt_span *entries, unsigned n);

// On the admin listener: "/livez".
enum lt_probe lt_probe_by_name(struct lt_span target);
