<?php
// SPDX-License-Identifier: Apache-2.0
// An event stream: writes and closes its session, sends the first event, and lasts (?gate=G).
require __DIR__ . '/lib.php';
session_start();
$_SESSION['n'] = ($_SESSION['n'] ?? 0) + 1;
session_write_close();
header('Content-Type: text/event-stream');
while (ob_get_level()) {
    ob_end_flush();
}
echo "data: {$_SESSION['n']}\n\n";
flush();
gate($_GET['gate'] ?? null);
echo "data: end\n\n";
