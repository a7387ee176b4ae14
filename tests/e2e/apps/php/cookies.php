<?php
// SPDX-License-Identifier: Apache-2.0
// Sets cookies of its own (?set[]=…, raw) and shows the request's Cookie field as it came.
require __DIR__ . '/lib.php';
if (isset($_GET['session'])) {
    session_start();
    $_SESSION['n'] = ($_SESSION['n'] ?? 0) + 1;
}
foreach ($_GET['set'] ?? [] as $line) {
    header('Set-Cookie: ' . $line, false);
}
report(['cookie' => $_SERVER['HTTP_COOKIE'] ?? null, 'uri' => $_SERVER['REQUEST_URI']]);
