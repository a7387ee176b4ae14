<?php
// SPDX-License-Identifier: Apache-2.0
// Answers completely, then goes on working and only then writes its session: fastcgi_finish_request() where there is one, else a
// flush behind a Content-Length. ?gate=G stops between the answer and the work.
require __DIR__ . '/lib.php';
session_start();
$body = json_encode(['n' => ($_SESSION['n'] ?? 0) + 1]);
header('Content-Type: application/json');
header('Content-Length: ' . strlen($body));
echo $body;
ignore_user_abort(true);
if (($_GET['how'] ?? '') === 'finish') {
    // fastcgi_finish_request() ends the answer, not the session
    fastcgi_finish_request();
} else {
    while (ob_get_level()) {
        ob_end_flush();
    }
    flush();
}
gate($_GET['gate'] ?? null);
$_SESSION['n'] = ($_SESSION['n'] ?? 0) + 1;
