// SPDX-License-Identifier: Apache-2.0
// koa-generic-session with its default store.
'use strict';
const crypto = require('crypto');
const fs = require('fs');
const { Readable } = require('stream');
const Koa = require('koa');
const session = require('koa-generic-session');

const { PORT, REPLICA } = process.env;
const app = new Koa();
app.keys = ['a secret'];
const pause = (seconds) => new Promise((done) => setTimeout(done, seconds * 1000));

function show(ctx) {
  const { n, name } = ctx.session || {};
  return { n: n || 0, id: ctx.sessionId, sent_id: ctx.cookies.get('koa.sid') || null, name: name || null, replica: REPLICA };
}

async function gate({ query }) {
  if (query.gate) await fs.promises.readFile(query.gate);
  if (query.hold) await pause(Number(query.hold));
}

async function form(ctx) {
  let text = '';
  for await (const part of ctx.req) text += part;
  return Object.fromEntries(new URLSearchParams(text));
}

async function* longText() {
  yield 'x'.repeat(70000);
  yield 'y'.repeat(1000);
}

const pages = {
  async 'GET /count'(ctx) {
    await gate(ctx);
    ctx.session.n = (ctx.session.n || 0) + 1;
    ctx.body = show(ctx);
  },
  async 'GET /me'(ctx) {
    await gate(ctx);
    ctx.body = show(ctx);
  },
  async 'POST /login'(ctx) {
    const { name } = await form(ctx);
    await gate(ctx);
    await ctx.regenerateSession();
    ctx.session.name = name;
    ctx.redirect('/me');
  },
  async 'POST /logout'(ctx) {
    ctx.session = null;
    ctx.body = { ok: true };
  },
  async 'GET /stream'(ctx) {
    ctx.session.n = (ctx.session.n || 0) + 1;
    ctx.type = 'text/plain';
    ctx.body = Readable.from(longText());
  },
  async 'POST /big'(ctx) {
    const { size } = await form(ctx);
    ctx.session.big = 'b'.repeat(Number(size));
    ctx.body = { ok: true };
  },
  async 'GET /big'(ctx) {
    const big = ctx.session.big || '';
    ctx.body = { length: big.length, sha256: crypto.createHash('sha256').update(big).digest('hex') };
  },
};

app.use(async (ctx, next) => {
  if (ctx.path !== '/anonymous') return next();
  ctx.body = { replica: REPLICA };
  return undefined;
});
app.use(session());
app.use(async (ctx) => {
  const page = pages[`${ctx.method} ${ctx.path}`];
  if (page) await page(ctx);
});
app.listen(PORT, '127.0.0.1');
