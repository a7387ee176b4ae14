<?php
// SPDX-License-Identifier: Apache-2.0
// Closes its session, ends its answer, and only then opens the session again and counts: behind the answer. ?gate=G stops in between.
require __DIR__ . '/lib.php';
session_start();
session_write_close();
ini_set('session.use_cookies', '0'); // PHP takes no session behind the headers that would need a cookie
ini_set('session.cache_limiter', '');
echo json_encode(['n' => ($_SESSION['n'] ?? 0) + 1]);
ignore_user_abort(true);
fastcgi_finish_request();
gate($_GET['gate'] ?? null);
session_start();
$_SESSION['n'] = ($_SESSION['n'] ?? 0) + 1;
