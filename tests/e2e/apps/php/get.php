<?php
// SPDX-License-Identifier: Apache-2.0
require __DIR__ . '/lib.php';
session_start();
report(['value' => $_SESSION[$_GET['key']] ?? null]);
