// SPDX-License-Identifier: Apache-2.0
// lethe's adapter for Node: sessions that a library would keep in this process's memory are kept by lethe's state API
// (modules/state_api/openapi.yaml) at the address in LETHE_STATE_API_LISTEN.
//
//     NODE_OPTIONS="$NODE_OPTIONS --require=/opt/lethe/adapters/node/lethe.cjs"
//
// It wraps Module._load, through which CommonJS and every ES module that imports CommonJS come, and replaces the methods of a memory
// store's prototype: so the default store and one that the application makes itself are covered. What it hooked, or why it could not, is
// one line on stderr and one POST to lethe. No dependencies, and ES2018 only: a syntax error here would keep an old application down.
'use strict';

const fs = require('fs');
const http = require('http');
const Module = require('module');
const path = require('path');

const DEADLINE = 5000; // ms from the call to its end, waiting in line included
const httpRequest = http.request; // as it is now: what traces or mocks the application's requests does not meet ours
const agent = new http.Agent({ keepAlive: true, maxSockets: 64, maxFreeSockets: 16 });
const address = process.env.LETHE_STATE_API_LISTEN || '';
const where = parseAddress(address);

function parseAddress(text) {
  const [, socketPath, v6, host, port] = /^(?:unix:(\/.+)|(?:\[([^\]]+)\]|([^:/]+)):(\d+))$/.exec(text) || [];
  return socketPath ? { socketPath } : port ? { host: v6 || host, port: Number(port) } : null;
}

// ---- HTTP ----

// Nobody knows whether the session exists. Its code is its own: the session libraries take an ENOENT, which is also what connecting to a
// missing socket gives, for a session that is not there. Express, Koa and Fastify answer with `status`, `statusCode` and `headers`.
class StateError extends Error {
  constructor(what, status) {
    super(`lethe's state API at ${address}: ${what}`);
    this.name = 'LetheStateError';
    this.code = 'ELETHESTATE';
    if (status === 503) Object.assign(this, { status, statusCode: status, headers: { 'Retry-After': '1' } });
  }
}

function send(options, body, until) {
  return new Promise((resolve, reject) => {
    const request = httpRequest(Object.assign({ agent }, where, options));
    const timer = setTimeout(() => fail(new Error(`no answer within ${DEADLINE} ms`)), Math.max(1, until - Date.now()));
    const fail = (error) => {
      clearTimeout(timer);
      reject(Object.assign(error, { stale: request.reusedSocket && /^(ECONNRESET|EPIPE)$/.test(error.code) }));
      request.destroy();
    };
    request.on('error', fail);
    request.on('response', (response) => {
      const parts = [];
      response.on('data', (part) => parts.push(part));
      response.on('error', fail);
      response.on('aborted', () => fail(new Error('the answer broke off')));
      response.on('end', () => {
        clearTimeout(timer);
        resolve({ status: response.statusCode, error: response.headers['x-lethe-error'], text: Buffer.concat(parts).toString() });
      });
    });
    if (options.unref) request.on('socket', (socket) => socket.unref());
    request.end(body);
  });
}

// One request about a session; its answer if the status is one of `expected`. Every call is idempotent, so one that a kept connection
// lost while lethe was closing it is sent again on a new one.
async function ask(method, id, action, headers, body, expected, until) {
  const options = { method, path: `/v1/sessions/${encodeURIComponent(id)}${action}`, headers };
  let answer;
  try {
    answer = await send(options, body, until).catch((error) => {
      if (!error.stale) throw error;
      return send(Object.assign({}, options, { agent: false }), body, until);
    });
  } catch (error) {
    throw new StateError(error.message, 503);
  }
  if (expected.includes(answer.status)) return answer;
  throw new StateError(`${method} answered ${answer.status} ${answer.error || ''} ${answer.text.trim()}`, answer.status);
}

// ---- Sessions ----

// The writes of one session that are under way in this process. In memory they took effect in the order of the calls; on several
// connections an older one could come last. A read waits for them.
const writing = new Map();

function inOrder(id, write) {
  const until = Date.now() + DEADLINE;
  const before = writing.get(id) || Promise.resolve();
  const result = before.then(() => write(until));
  const settled = result.catch(() => {}).then(() => writing.get(id) === settled && writing.delete(id));
  writing.set(id, settled);
  return result;
}

async function read(id) {
  const until = Date.now() + DEADLINE;
  await writing.get(id);
  const { status, text } = await ask('GET', id, '', {}, null, [200, 404, 410], until);
  if (status !== 200) return undefined;
  try {
    return JSON.parse(text);
  } catch (error) {
    throw new StateError('the session is not JSON: something else has written it');
  }
}

// JSON is made at the time of the call, as MemoryStore does it. What is over already is deleted: a store would not give it back.
async function write(id, session, ms) {
  if (isOver(ms)) return remove(id);
  const body = JSON.stringify(session);
  const headers = Object.assign({ 'Content-Type': 'application/octet-stream' }, ttl(ms));
  await inOrder(id, (until) => ask('PUT', id, '', headers, body, [204, 410], until));
}

async function touch(id, ms) {
  if (isOver(ms)) return remove(id);
  await inOrder(id, (until) => ask('POST', id, '/touch', ttl(ms), null, [204, 404, 410], until));
}

async function remove(id) {
  await inOrder(id, (until) => ask('DELETE', id, '', {}, null, [204, 404, 410], until));
}

const isOver = (ms) => typeof ms === 'number' && ms <= 0;
const ttl = (ms) => (ms > 0 && ms < Infinity ? { 'Lethe-TTL': String(Math.ceil(ms / 1000)) } : {});

// Milliseconds that the session's cookie has left; undefined for a cookie without an end: lethe's own session.idle_ttl decides.
function left(session) {
  const cookie = (session && session.cookie) || {};
  if (cookie.expires) return new Date(cookie.expires) - Date.now();
  return [cookie.maxAge, cookie.originalMaxAge].find((ms) => typeof ms === 'number');
}

// ---- The libraries' stores ----

// As MemoryStore, callbacks run from setImmediate: what they throw is an uncaught exception, not a rejected promise.
function answer(promise, callback) {
  promise.then((value) => callback && setImmediate(callback, null, value),
    (error) => (callback ? setImmediate(callback, error) : say(error.message)));
}

function cannotList(callback) {
  answer(Promise.reject(new StateError('it does not list sessions: all(), length() and clear() cannot work')), callback);
}

// express-session ends an answer whose session could not be saved as if it had been. Its head is out, so breaking the connection off
// is all that tells the client.
function breakOff(session) {
  const response = session && session.req && session.req.res;
  if (response && response.headersSent && response.socket) response.socket.destroy();
}

const callbacks = {
  get(id, callback) { answer(read(id), callback); },
  set(id, session, callback) { answer(write(id, session, left(session)), callback); },
  destroy(id, callback) { answer(remove(id), callback); },
};

// For each library: the numbers of parameters by which its MemoryStore's methods are known, and what replaces them.
const LIBRARIES = {
  'express-session': {
    shape: { get: 2, set: 3, destroy: 2, touch: 3, all: 1, clear: 1, length: 1 },
    methods: Object.assign({}, callbacks, {
      set(id, session, callback) {
        const written = write(id, session, left(session));
        written.catch(() => breakOff(session));
        answer(written, callback);
      },
      touch(id, session, callback) { answer(touch(id, left(session)), callback); },
      all: cannotList,
      clear: cannotList,
      length: cannotList,
    }),
  },
  '@fastify/session': { shape: { get: 2, set: 3, destroy: 2 }, methods: callbacks },
  'koa-generic-session': {
    shape: { get: 1, set: 2, destroy: 1 },
    methods: { get: read, set: (id, session, ms) => write(id, session, ms || undefined), destroy: remove }, // 0: the cookie has no end
  },
  'koa-session': {}, // has no memory store
};

// ---- Hooking ----

function say(text) {
  const line = `lethe-node[${process.pid}]: ${text.replace(/\s+/g, ' ')}\n`;
  try {
    fs.writeSync(2, line); // process.stderr of a worker thread is late, and lost when it ends
  } catch (error) {
    process.stderr.write(line);
  }
}

// To stderr and to lethe, which may start later than the application. Never keeps the process alive.
function report(store, status, detail) {
  say(`${store}: ${status === 'hooked' ? 'hooked' : 'NOT HOOKED'}: ${detail}`);
  if (!where) return;
  const ascii = (text) => text.replace(/[^ -~]+/g, ' ').slice(0, 300);
  const headers = { 'Lethe-Store': ascii(store), 'Lethe-Status': status, 'Lethe-Detail': ascii(detail) };
  const options = { agent: false, unref: true, method: 'POST', path: '/v1/adapters/node', headers };
  const post = (tries) => send(options, null, Date.now() + DEADLINE).catch((error) => {
    if (tries === 0) say(`could not report to lethe at ${address}: ${error.message}`);
    else setTimeout(post, 1000, tries - 1).unref();
  });
  post(60);
}

let seen = false; // a known library, or that LETHE_STATE_API_LISTEN is of no use
const met = new Map(); // file → its exports, looked at once; there are others when it is loaded anew

function usable() {
  if (where) return true;
  if (!seen) {
    say('NOT HOOKED: LETHE_STATE_API_LISTEN ' + (address ? `is "${address}"; write "unix:/path" or "127.0.0.1:port"`
      : 'is not set; give the application the same value as lethe, e.g. "unix:/run/lethe/state.sock"'));
  }
  seen = true;
  return false;
}

// The package.json above a file, with `main` as the path of its entry.
function packageOf(file) {
  for (let folder = path.dirname(file); folder !== path.dirname(folder); folder = path.dirname(folder)) {
    try {
      const found = JSON.parse(fs.readFileSync(path.join(folder, 'package.json'), 'utf8'));
      if (found.name) return { name: found.name, version: found.version, main: Module._resolveFilename(folder, null, false) };
    } catch (error) {} // none in this folder
  }
  return {};
}

// Why the library's exports cannot be hooked; undefined once they are.
function hook({ shape, methods }, exported) {
  const store = exported && exported.MemoryStore;
  if (typeof store !== 'function') return 'it exports no MemoryStore';
  const known = (name) => typeof store.prototype[name] === 'function' && store.prototype[name].length === shape[name];
  const odd = Object.keys(shape).filter((name) => !known(name));
  if (odd.length) return `its MemoryStore is not the one that this adapter knows (${odd.map((name) => name + '()').join(', ')})`;
  Object.assign(store.prototype, methods);
  return undefined;
}

// express-session assigns generate() to the store that it is to use. Another one than the hooked one stays as it is, and that is said.
function watchStores(title, { Store, MemoryStore }) {
  Object.defineProperty(Store.prototype, 'generate', {
    configurable: true,
    set(value) {
      Object.defineProperty(this, 'generate', { value, writable: true, configurable: true, enumerable: true });
      if (this.get === MemoryStore.prototype.get) return;
      report(title, 'failed', `the application gives it a store of its own, ${this.constructor.name}, which stays as it is; if that one ` +
        'keeps sessions in memory, take it out of session({store})');
    },
  });
}

function loaded(exported, file) {
  if (met.get(file) === exported) return;
  met.set(file, exported);
  const { name, version, main } = packageOf(file);
  const library = LIBRARIES[name];
  if (!library || file !== main || !usable()) return;
  seen = true;
  const title = `${name} ${version}`;
  if (!library.methods) {
    say(`${title}: nothing to hook: the session is in its cookie, unless the application gives it a store, which stays as it is`);
    return;
  }
  const why = hook(library, exported);
  if (why) report(title, 'failed', `${why}; configure a shared store in the application, or use a version that the adapter knows`);
  else report(`${title} MemoryStore`, 'hooked', `its sessions are kept by lethe at ${address}`);
  if (!why && name === 'express-session') watchStores(title, exported);
}

const PACKAGE = new RegExp(`^(?:.*[\\\\/]node_modules[\\\\/])?(?:${Object.keys(LIBRARIES).join('|')})(?:$|[\\\\/])`);

function install() {
  const load = Module._load;
  Module._load = function (request, parent) {
    const exported = load.apply(this, arguments);
    try {
      if (PACKAGE.test(request)) loaded(exported, Module._resolveFilename(request, parent, false));
    } catch (error) {
      report(request, 'failed', `the adapter itself has failed: ${error.stack}`);
    }
    return exported;
  };
  // Own property over the inherited one, until the first call.
  Object.defineProperty(http.Server.prototype, 'listen', {
    configurable: true,
    writable: true,
    value: function listen() {
      delete http.Server.prototype.listen;
      if (!seen && usable()) {
        report('none', 'failed', `the application listens and has loaded none of ${Object.keys(LIBRARIES).join(', ')}: ` +
          'it keeps no sessions, or they are in a bundle, in a store of its own or in a library that this adapter does not know');
      }
      return Object.getPrototypeOf(http.Server.prototype).listen.apply(this, arguments);
    },
  });
}

if (!process[Symbol.for('lethe.adapter')]) { // loaded twice, by --require and --import or from two places
  Object.defineProperty(process, Symbol.for('lethe.adapter'), { value: true });
  install();
}
