// SPDX-License-Identifier: Apache-2.0
// What the tests of the session module's whole way share: one module in the rig, a store in memory, users.
#pragma once

#include "modules/session/session.h"
#include "tests/rig/fake_store.h"
#include "tests/rig/leaks.h"
#include "tests/rig/rig.h"

#include <criterion/criterion.h>
#include <stdio.h>

extern struct rig *rig;

void end(void);
void begin_with(bool exclusive, const char *store, const char *more);
void expect_ops(const char *ops);
int64_t count(const char *event);
struct rig_exchange *ask(const char *cookie);
enum lt_verdict answer(struct rig_exchange *x, const char *fields);
enum lt_verdict finish(struct rig_exchange *x);
void over(struct rig_exchange *x);
// The cookie as the client sends it back: "lethe=…".
const char *token_of(struct rig_exchange *x);
// A session whose cookie is PHPSESSID=one; returns the client's cookie.
const char *log_in(void);
