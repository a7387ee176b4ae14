// SPDX-License-Identifier: Apache-2.0
// @fastify/session with its default store.
'use strict';
const crypto = require('crypto');
const fs = require('fs');
const { Readable } = require('stream');
const fastify = require('fastify');

const { PORT, REPLICA } = process.env;
const app = fastify();
const pause = (seconds) => new Promise((done) => setTimeout(done, seconds * 1000));

function show(request) {
  const sent = request.cookies.sessionId;
  const { session } = request;
  return { n: session.n || 0, id: session.sessionId, sent_id: sent ? sent.split('.')[0] : null, name: session.name || null, replica: REPLICA };
}

async function gate({ query }) {
  if (query.gate) await fs.promises.readFile(query.gate);
  if (query.hold) await pause(Number(query.hold));
}

async function* longText() {
  yield 'x'.repeat(70000);
  yield 'y'.repeat(1000);
}

app.addContentTypeParser('application/x-www-form-urlencoded', { parseAs: 'string' },
  (request, body, done) => done(null, Object.fromEntries(new URLSearchParams(body))));

app.get('/anonymous', async () => ({ replica: REPLICA }));

app.register(async (pages) => {
  pages.register(require('@fastify/cookie'));
  pages.register(require('@fastify/session'), { secret: 'a secret of at least thirty-two characters', cookie: { secure: false } });

  pages.get('/count', async (request) => {
    await gate(request);
    request.session.n = (request.session.n || 0) + 1;
    return show(request);
  });

  pages.get('/me', async (request) => {
    await gate(request);
    return show(request);
  });

  pages.post('/login', async (request, reply) => {
    await gate(request);
    await request.session.regenerate();
    request.session.name = request.body.name;
    return reply.redirect('/me');
  });

  pages.post('/logout', async (request) => {
    await request.session.destroy();
    return { ok: true };
  });

  pages.get('/stream', async (request, reply) => {
    request.session.n = (request.session.n || 0) + 1;
    return reply.type('text/plain').send(Readable.from(longText()));
  });

  pages.post('/big', async (request) => {
    request.session.big = 'b'.repeat(Number(request.body.size));
    return { ok: true };
  });

  pages.get('/big', async (request) => {
    const big = request.session.big || '';
    return { length: big.length, sha256: crypto.createHash('sha256').update(big).digest('hex') };
  });
});

app.listen({ port: Number(PORT), host: '127.0.0.1' });
