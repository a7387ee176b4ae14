<?php
// SPDX-License-Identifier: Apache-2.0
// POST name=…; ?regenerate=true|false makes a new id and drops or leaves the old one; ?to=/x answers with a redirect; ?gate=G stops with the old id.
require __DIR__ . '/lib.php';
session_start();
$old = session_id();
gate($_GET['gate'] ?? null);
if (isset($_GET['regenerate'])) {
    session_regenerate_id($_GET['regenerate'] === 'true');
}
$_SESSION['name'] = $_POST['name'];
if (isset($_GET['to'])) {
    header('Location: ' . $_GET['to'], true, 302);
    exit;
}
report(['old_id' => $old]);
