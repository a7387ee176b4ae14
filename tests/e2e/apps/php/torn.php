<?php
// SPDX-License-Identifier: Apache-2.0
// Dies as a PHP does that is killed while it writes its session: the file is empty, there is no answer.
require __DIR__ . '/lib.php';
session_start();
ftruncate(fopen(session_save_path() . '/sess_' . session_id(), 'r+'), 0);
posix_kill(getmypid(), SIGKILL);
