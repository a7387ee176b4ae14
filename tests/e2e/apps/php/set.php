<?php
// SPDX-License-Identifier: Apache-2.0
// POST key=…&value=…: puts one value and redirects to get.php: the browser follows before this script has ended.
require __DIR__ . '/lib.php';
session_start();
$_SESSION[$_POST['key']] = $_POST['value'];
header('Location: /get.php?key=' . rawurlencode($_POST['key']), true, 302);
