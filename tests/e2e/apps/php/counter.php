<?php
// SPDX-License-Identifier: Apache-2.0
// Counts its calls. ?gate=G stops between reading and writing, as a slow request does.
require __DIR__ . '/lib.php';
session_start();
$n = ($_SESSION['n'] ?? 0) + 1;
gate($_GET['gate'] ?? null);
$_SESSION['n'] = $n;
report();
