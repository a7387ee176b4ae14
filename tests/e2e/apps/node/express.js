// SPDX-License-Identifier: Apache-2.0
// express-session with its default store. RESAVE and UNINITIALIZED set its two options.
'use strict';
const crypto = require('crypto');
const fs = require('fs');
const express = require('express');
const session = require('express-session');

const { PORT, REPLICA, RESAVE, UNINITIALIZED } = process.env;
const app = express();
const pause = (seconds) => new Promise((done) => setTimeout(done, seconds * 1000));

function sentId(req) {
  const found = /(?:^|; *)connect\.sid=s%3A([^.;]+)/.exec(req.headers.cookie || '');
  return found && decodeURIComponent(found[1]);
}

function show(req) {
  return { n: req.session.n || 0, id: req.sessionID, sent_id: sentId(req), name: req.session.name || null, replica: REPLICA };
}

async function gate(req) {
  if (req.query.gate) await fs.promises.readFile(req.query.gate);
  if (req.query.hold) await pause(Number(req.query.hold));
}

app.get('/anonymous', (req, res) => res.json({ replica: REPLICA }));
app.use(session({ secret: 'a secret', resave: RESAVE === '1', saveUninitialized: UNINITIALIZED === '1' }));
app.use(express.urlencoded({ extended: false }));

app.get('/count', (req, res, next) => {
  gate(req).then(() => {
    req.session.n = (req.session.n || 0) + 1;
    res.json(show(req));
  }).catch(next);
});

app.get('/me', (req, res, next) => {
  gate(req).then(() => res.json(show(req))).catch(next);
});

app.post('/login', (req, res, next) => {
  gate(req).then(() => req.session.regenerate((error) => {
    if (error) return next(error);
    req.session.name = req.body.name;
    return res.redirect('/me');
  })).catch(next);
});

app.post('/logout', (req, res, next) => {
  req.session.destroy((error) => (error ? next(error) : res.json({ ok: true })));
});

app.get('/stream', (req, res) => {
  req.session.n = (req.session.n || 0) + 1;
  res.type('text/plain');
  res.write('x'.repeat(70000));
  setImmediate(() => res.end('y'.repeat(1000)));
});

app.post('/big', (req, res) => {
  req.session.big = 'b'.repeat(Number(req.body.size));
  res.json({ ok: true });
});

app.get('/big', (req, res) => {
  const big = req.session.big || '';
  res.json({ length: big.length, sha256: crypto.createHash('sha256').update(big).digest('hex') });
});

app.listen(PORT, '127.0.0.1');
