<?php
// SPDX-License-Identifier: Apache-2.0
// Writes and closes its session early, then works on (?gate=G) without it. ?flush=1: the answer has begun by then.
require __DIR__ . '/lib.php';
session_start();
$_SESSION['n'] = ($_SESSION['n'] ?? 0) + 1;
session_write_close();
if (isset($_GET['flush'])) {
    while (ob_get_level()) {
        ob_end_flush();
    }
    echo str_repeat(' ', 20000);
    flush();
}
gate($_GET['gate'] ?? null);
report();
