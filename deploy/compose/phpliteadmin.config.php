<?php
// SPDX-License-Identifier: Apache-2.0
$password = 'demo';
$directory = '/srv/data'; // shared by all replicas, as a database would be; only sessions are a replica's own
