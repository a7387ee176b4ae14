// SPDX-License-Identifier: Apache-2.0
#include "modules/modules.h"

#include "admin.h"
#include "modules/audit/audit.h"
#include "modules/files/files.h"
#include "modules/health/health.h"
#include "modules/session/session.h"
#include "modules/state_api/state_api.h"
#include "modules/sticky/sticky.h"

const struct lt_module *const lt_modules[] = {
    &lt_module_admin,     // GATE
    &lt_module_enforce,   // GATE, before the probes that it fails
    &lt_module_health,    // GATE
    &lt_module_jwt,       // GATE
    &lt_module_session,   // STATE
    &lt_module_sticky,    // AFFINITY
    &lt_module_files,     // CARRIER
    &lt_module_state_api, // CARRIER
    &lt_module_audit,     // BODY, nearest to the application
    NULL,
};
