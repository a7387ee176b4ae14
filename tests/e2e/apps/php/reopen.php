<?php
// SPDX-License-Identifier: Apache-2.0
// A slow request: lets go of its session, works (?gate=G), and writes all that it had read before.
require __DIR__ . '/lib.php';
session_start();
$mine = $_SESSION;
session_write_close();
gate($_GET['gate'] ?? null);
session_start(['use_cookies' => '1', 'cache_limiter' => '']);
$_SESSION = $mine;
$_SESSION['n'] = ($mine['n'] ?? 0) + 1;
session_write_close();
echo json_encode(['n' => $_SESSION['n']]);
