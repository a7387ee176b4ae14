<?php
// SPDX-License-Identifier: Apache-2.0
// What the test applications share. They know nothing of lethe: each is written for one machine with PHP's own session files.

// Meets the test at a fifo: blocks until the test has it open for writing and says "go". No path: no stop.
function gate(?string $path): void
{
    if ($path === null || $path === '') {
        return;
    }
    ignore_user_abort(true);
    set_time_limit(0);
    $fifo = fopen($path, 'r');
    fgets($fifo);
    fclose($fifo);
}

// Ends the answer with what the tests look at: the session as this replica saw it.
function report(array $more = []): void
{
    $text = json_encode($more + [
        'n' => $_SESSION['n'] ?? 0,
        'name' => $_SESSION['name'] ?? null,
        'id' => session_id(),
        'sent_id' => $_COOKIE['PHPSESSID'] ?? null,
        'replica' => getenv('REPLICA'),
    ]);
    header('Content-Type: application/json');
    echo $text;
}
