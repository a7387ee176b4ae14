// SPDX-License-Identifier: Apache-2.0
// The store of proxy/store/store.h in memory: it does what the scripts in Redis do, and writes down what it was asked.
#pragma once

#include "store/store.h"

// Since the last call: a word an operation ("load create save end expire renew release"), "!" behind one that was given back another
// result than LT_STORE_OK.
const char *fake_store_log(void);

// The next operation of this kind ends so, once. LT_STORE_DOWN does nothing before.
void fake_store_next(enum lt_store_kind kind, enum lt_store_result result);

// Until the second call the results wait.
void fake_store_hold(bool hold);

// Somebody else takes the lock of the only record / writes it / nobody has it any more.
void fake_store_steal(void);
void fake_store_touch(void);

// How many records there are that are no tombstones.
unsigned fake_store_alive(void);

// Forgets everything.
void fake_store_reset(void);
