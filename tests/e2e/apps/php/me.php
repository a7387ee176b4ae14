<?php
// SPDX-License-Identifier: Apache-2.0
// Reads: who am I? ?gate=G stops with the session held.
require __DIR__ . '/lib.php';
session_start();
gate($_GET['gate'] ?? null);
report();
