<?php
// SPDX-License-Identifier: Apache-2.0
// A shop of three goods, written as for one machine: the cart stands in PHP's session and nowhere else.
const GOODS = ['apple' => 1, 'pear' => 2, 'quince' => 5];

session_start();
$cart = &$_SESSION['cart'];
$cart ??= [];
if ($_SERVER['REQUEST_METHOD'] === 'POST') {
    $item = $_POST['item'] ?? '';
    if (isset(GOODS[$item])) {
        $cart[$item] = ($cart[$item] ?? 0) + 1;
    } elseif ($item === '') {
        $cart = [];
    }
    header('Location: ' . strtok($_SERVER['REQUEST_URI'], '?'), true, 303);
    exit;
}
$sum = array_sum(array_map(fn($item, $n) => GOODS[$item] * $n, array_keys($cart), $cart));
?>
<!DOCTYPE html>
<html lang="en">
<meta charset="utf-8">
<title>Cart</title>
<style>body { font: 1.1em/1.6 sans-serif; margin: 3em auto; max-width: 30em } button { font: inherit; padding: .2em .8em }</style>
<h1>Cart</h1>
<p id="count"><?= array_sum($cart) ?> items</p>
<ul>
<?php foreach ($cart as $item => $n): ?>
<li><?= $n ?> × <?= htmlspecialchars($item) ?>
<?php endforeach ?>
</ul>
<p>Together <?= $sum ?> €. Answered by <b><?= htmlspecialchars(getenv('REPLICA') ?: gethostname()) ?></b>.
<form method="post">
<?php foreach (array_keys(GOODS) as $item): ?>
<button name="item" value="<?= $item ?>">one <?= $item ?></button>
<?php endforeach ?>
<button name="item" value="">empty it</button>
</form>
</html>
