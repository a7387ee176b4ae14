<?php
// SPDX-License-Identifier: Apache-2.0
// Reads the session and lets go of it at once.
require __DIR__ . '/lib.php';
session_start(['read_and_close' => true]);
gate($_GET['gate'] ?? null);
report();
