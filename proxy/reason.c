// SPDX-License-Identifier: Apache-2.0
#include "reason.h"

#include <string.h>

#define APP_LOG "see the application's own log, and lethe's event upstream_malformed"

static const struct lt_reason reasons[] = {
    {"upstream_connect", "the application does not accept a connection",
     "start the application, or check the option \"upstream\""},
    {"upstream_connect_timeout", "the application does not accept a connection in time",
     "look at the application's load and at the option \"upstream\""},
    {"upstream_closed", "the application closed the connection before its answer was whole", APP_LOG},
    {"upstream_malformed", "the application answered what is not HTTP", APP_LOG},
    {"upstream_timeout", "the application was silent for longer than timeouts.upstream", "look at what it waits for"},
    {"store_unavailable", "the session store does not answer", "look at the store itself: lethe asks again by itself"},
    {"session_locked", "another request of the same session ran for longer than session.lock_wait",
     "find the slow requests in the access log"},
    {"session_lease_lost", "this process stood still for longer than session.lock_ttl",
     "give the container more CPU; see lethe's event session_lease_lost"},
    {"session_unreadable", "a session was sealed with a key that this replica does not have",
     "give this replica all keys of the others"},
    {"session_conflict", "several answers changed the cookies of one session at once, again and again",
     "look at what the application sets in parallel"},
    {"session_too_large", "a session does not fit where it is kept",
     "raise session.client_max, or keep sessions in Redis"},
    {"session_file_too_large", "a session file is too large", "raise files.max_size"},
    {"session_file", "a session file cannot be read or written", "check files.dir and files.owner"},
    {"session_file_busy", "the application held a session file for longer than files.wait",
     "find out what it does while it holds its session"},
    {"session_file_refused", "a link, a file of another user or no regular file stands where a session file should",
     "see lethe's event session_file_refused"},
    {"memory", "the system gave no memory", "give the container more memory"},
};

const struct lt_reason *lt_reason_find(const char *name) {
    for (unsigned i = 0; i < sizeof reasons / sizeof *reasons; i++)
        if (strcmp(reasons[i].name, name) == 0)
            return &reasons[i];
    return NULL;
}
