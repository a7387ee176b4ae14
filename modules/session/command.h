// SPDX-License-Identifier: Apache-2.0
// `lethe session list | show | revoke`: what an operator sees of the sessions in the store, and how he ends them. Contents stay sealed: to
// open one takes the keys and the client's token.
#pragma once

#include "config/config.h"

enum session_verb { SESSION_LIST, SESSION_SHOW, SESSION_REVOKE };

struct session_command {
    enum session_verb verb;
    const char *hash;   // as `list` shows it, or NULL
    const char *token;  // of the client, or NULL
    const char *cookie; // "NAME=VALUE", the application's own; or NULL
    bool all;
};

// Returns the exit code: 0, 1 (the store does not answer, or there is no such session), 2 (it cannot be done like this).
int session_command_run(const struct lt_config *config, const struct session_command *command);
