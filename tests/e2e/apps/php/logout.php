<?php
// SPDX-License-Identifier: Apache-2.0
// Ends the session; ?cookie=expire also takes the cookie back, as the manual recommends.
require __DIR__ . '/lib.php';
session_start();
$_SESSION = [];
if (($_GET['cookie'] ?? '') === 'expire') {
    setcookie('PHPSESSID', '', 1, '/');
}
session_destroy();
report();
