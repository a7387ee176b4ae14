<?php
// SPDX-License-Identifier: Apache-2.0
// Counts its calls. ?gate=G stops between reading and writing, as a slow request does. ?close=1 writes before it answers.
require __DIR__ . '/lib.php';
session_start();
$n = ($_SESSION['n'] ?? 0) + 1;
gate($_GET['gate'] ?? null);
$_SESSION['n'] = $n;
if (isset($_GET['close'])) {
    session_write_close();
}
report();
