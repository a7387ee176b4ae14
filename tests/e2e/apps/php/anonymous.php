<?php
// SPDX-License-Identifier: Apache-2.0
// No session. ?gate=G stops.
require __DIR__ . '/lib.php';
gate($_GET['gate'] ?? null);
report();
