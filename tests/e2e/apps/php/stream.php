<?php
// SPDX-License-Identifier: Apache-2.0
// A chunked answer in pieces; the session changes before the first and after the last.
require __DIR__ . '/lib.php';
session_start();
$_SESSION['n'] = ($_SESSION['n'] ?? 0) + 1;
while (ob_get_level()) {
    ob_end_flush();
}
for ($i = 0; $i < 5; $i++) {
    echo str_repeat(chr(97 + $i), 10000), "\n";
    flush();
}
gate($_GET['gate'] ?? null);
$_SESSION['after'] = $_SESSION['n'];
