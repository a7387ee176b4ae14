<?php
// SPDX-License-Identifier: Apache-2.0
// Laravel's session store and its file driver (Debian's php-illuminate-session), as StartSession uses them, with the cookie as it is when it is
// excepted from encryption (App\Http\Middleware\EncryptCookies::$except). Knows nothing of lethe.
require 'Illuminate/Session/autoload.php';
require 'Illuminate/Filesystem/autoload.php';

use Illuminate\Filesystem\Filesystem;
use Illuminate\Session\FileSessionHandler;
use Illuminate\Session\Store;

$path = parse_url($_SERVER['REQUEST_URI'], PHP_URL_PATH);
if ($path === '/anonymous') {
    header('Content-Type: application/json');
    echo json_encode(['replica' => getenv('REPLICA')]);
    exit;
}
$sent = $_COOKIE['laravel_session'] ?? null;
$session = new Store('laravel_session', new FileSessionHandler(new Filesystem(), getenv('SESSIONS'), 120), $sent);
$session->start();

// Meets the test at a fifo.
if (!empty($_GET['gate'])) {
    ignore_user_abort(true);
    $fifo = fopen($_GET['gate'], 'r');
    fgets($fifo);
    fclose($fifo);
}

// The middleware saves the session and sets the cookie before the answer leaves.
function answer(Store $session, string $text, ?string $to = null): void
{
    $session->save();
    setcookie('laravel_session', $session->getId(), ['path' => '/', 'httponly' => true, 'expires' => time() + 7200]);
    header('Content-Type: application/json');
    if ($to !== null) {
        header("Location: $to", true, 302);
    }
    echo $text;
}

function report(Store $session, ?string $sent): string
{
    return json_encode(['n' => $session->get('n', 0), 'name' => $session->get('name'), 'id' => $session->getId(),
                        'sent_id' => $sent, 'replica' => getenv('REPLICA')]);
}

switch ($path) {
    case '/count':
        $session->put('n', $session->get('n', 0) + 1);
        answer($session, report($session, $sent));
        break;
    case '/login':
        $session->regenerate(true);
        $session->put('name', $_POST['name']);
        answer($session, '', '/me');
        break;
    case '/logout':
        $session->invalidate();
        answer($session, json_encode(['ok' => true]));
        break;
    case '/stream':
        $session->put('n', $session->get('n', 0) + 1);
        answer($session, str_repeat(' ', 5000));
        flush();
        echo report($session, $sent);
        break;
    case '/big':
        if ($_SERVER['REQUEST_METHOD'] === 'POST') {
            $session->put('big', substr(str_repeat(bin2hex(random_bytes(5000)), (int) ($_POST['size'] / 10000) + 1), 0, (int) $_POST['size']));
        }
        $big = $session->get('big', '');
        answer($session, json_encode(['length' => strlen($big), 'sha256' => hash('sha256', $big)]));
        break;
    default:
        answer($session, report($session, $sent));
}
