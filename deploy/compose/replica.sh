#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# One replica in one container: starts the application (the command that follows) again whenever it ends, and becomes lethe. So the
# container lives exactly as long as lethe does, and on SIGTERM lethe drains while the application still answers.
while :; do
    "$@"
    echo "replica: the application ended with $?; it is started again in a second" >&2
    sleep 1
done &
exec lethe run
