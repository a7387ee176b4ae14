// SPDX-License-Identifier: Apache-2.0
// Tells a service manager how far the process is: datagrams to the unix socket in $NOTIFY_SOCKET, as sd_notify(3) describes them.
// Without that variable all of it does nothing. Only the main thread calls it.
#pragma once

#include <stdbool.h>
#include <stdint.h>

// Every listener accepts; and again when a reload is over, whether it changed anything or not.
void lt_notify_ready(void);

// A reload begins.
void lt_notify_reloading(void);

// Another process goes on in this one's place (an upgrade).
void lt_notify_successor(int64_t pid);

// The process drains for at most `limit_ms` and ends. The manager is asked to wait as long.
void lt_notify_stopping(int64_t limit_ms);

// Half of the time after which the manager takes this process for dead (WATCHDOG_USEC, WATCHDOG_PID), in ms; 0: it does not watch.
int64_t lt_notify_watchdog_ms(void);

// The sign of life. It is for the caller to know that there is life.
void lt_notify_alive(void);
