// SPDX-License-Identifier: Apache-2.0
// Which probe a path asks for: by health.paths on the main listeners, by its name on the admin listener.
#pragma once

#include "config/option.h"

enum health_probe { HEALTH_LIVEZ, HEALTH_READYZ, HEALTH_STARTUPZ, HEALTH_NO_PROBE };

// An entry of health.paths: "/healthz=livez", or "/x/livez". `path`: set to what a request must name. HEALTH_NO_PROBE: no entry.
enum health_probe health_entry(struct lt_span entry, struct lt_span *path);

// `target`: of a request, with its query. `paths`: NULL on the admin listener.
enum health_probe health_probe_of(struct lt_span target, const struct lt_option_list *paths);
