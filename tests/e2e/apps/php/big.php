<?php
// SPDX-License-Identifier: Apache-2.0
// POST size=N[&seed=S]: keeps N bytes in the session. GET: their length and hash.
require __DIR__ . '/lib.php';
session_start();
if ($_SERVER['REQUEST_METHOD'] === 'POST') {
    mt_srand((int) ($_POST['seed'] ?? 1));
    $text = '';
    while (strlen($text) < (int) $_POST['size']) {
        $text .= pack('N', mt_rand());
    }
    $_SESSION['big'] = substr($text, 0, (int) $_POST['size']);
}
report(['length' => strlen($_SESSION['big'] ?? ''), 'sha256' => hash('sha256', $_SESSION['big'] ?? '')]);
