<?php
// SPDX-License-Identifier: Apache-2.0
// A small application that does what an audit must find, or need not: /app.php?do=…. It knows nothing of lethe. Its data lie in DATA.
$data = getenv('DATA');

// Meets the test at a fifo: blocks until the test has it open for writing and says "go".
function gate(?string $path): void
{
    if ($path) {
        $fifo = fopen($path, 'r');
        fgets($fifo);
        fclose($fifo);
    }
}

switch ($_GET['do'] ?? '') {
    case 'upload': // what PHP has put into upload_tmp_dir is moved to where the application keeps it
        $name = basename($_FILES['file']['name']);
        @mkdir("$data/uploads");
        move_uploaded_file($_FILES['file']['tmp_name'], "$data/uploads/$name");
        break;
    case 'write':
        file_put_contents("$data/{$_GET['name']}", str_repeat('x', (int) ($_GET['size'] ?? 10)));
        break;
    case 'slow': // two writes of one opening
        $f = fopen("$data/{$_GET['name']}", 'w');
        fwrite($f, 'one');
        fflush($f);
        gate($_GET['gate']);
        fwrite($f, 'two');
        fclose($f);
        break;
    case 'wait':
        gate($_GET['gate']);
        break;
    case 'rename': // written beside it, then in place
        file_put_contents("$data/{$_GET['name']}.new", 'x');
        rename("$data/{$_GET['name']}.new", "$data/{$_GET['name']}");
        break;
    case 'deep':
        mkdir("$data/a/b/c", 0777, true);
        file_put_contents("$data/a/b/c/file", 'x');
        break;
    case 'log':
        file_put_contents("$data/app.log", "a line\n", FILE_APPEND);
        break;
    case 'session':
        session_start();
        $_SESSION['n'] = ($_SESSION['n'] ?? 0) + 1;
        echo $_SESSION['n'];
        break;
    case 'sticky':
        setcookie('BALANCEID', 'balancer.node1');
        break;
    case 'node':
        header('Set-Cookie: JSESSIONID=' . strtoupper(bin2hex(random_bytes(16))) . '.node1; Path=/; HttpOnly');
        break;
    case 'plain':
        setcookie('theme', 'dark');
        header('Set-Cookie: JSESSIONID=' . strtoupper(bin2hex(random_bytes(16))) . '; Path=/; HttpOnly', false);
        break;
}
echo 'ok';
