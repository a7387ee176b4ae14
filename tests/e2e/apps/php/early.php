<?php
// SPDX-License-Identifier: Apache-2.0
// Writes and closes its session early, then works on (?gate=G) without it.
require __DIR__ . '/lib.php';
session_start();
$_SESSION['n'] = ($_SESSION['n'] ?? 0) + 1;
session_write_close();
gate($_GET['gate'] ?? null);
report();
