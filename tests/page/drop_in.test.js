// @ts-check
/** page/event-source.js in the place of EventSource: `self.EventSource = ResumableEventSource` (WHATWG HTML 9.2.1). */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';

import { ResumableEventSource } from '../../src/tickertape/page/event-source.js';
import { STREAM, head, listen } from './support/server.js';
import { next } from './support/sources.js';

const BODY = 'retry: 0\nid: 1\ndata: a\n\nevent: tick\ndata: b\n\nevent: open\ndata: named\n\n';

/** @type {any} */ let EventSource;
/** @type {Awaited<ReturnType<typeof listen>>} */ let server;

before(async () => {
  EventSource = ResumableEventSource;
  server = await listen((request, socket) =>
    socket.end(request.headers['last-event-id'] ? head(204) : head(200, STREAM) + BODY));
});
after(() => server.close());

test('the constants are on the class and on its objects, and cannot be changed', () => {
  const source = new EventSource(server.origin);
  source.close();
  for (const it of [EventSource, source]) {
    assert.deepEqual([it.CONNECTING, it.OPEN, it.CLOSED], [0, 1, 2]);
    assert.throws(() => { it.OPEN = 7; }, TypeError);
  }
});

test('readyState goes from CONNECTING over OPEN and CONNECTING to CLOSED', async () => {
  const source = new EventSource(server.origin);
  const states = [source.readyState];
  await new Promise((resolve) => {
    source.onopen = (/** @type {Event} */ event) => event instanceof MessageEvent || states.push(source.readyState);
    source.onerror = () => (states.push(source.readyState), source.readyState === 2 && resolve(null));
  });
  assert.deepEqual(states, [0, 1, 0, 2]);
});

test('messages are MessageEvents with data, lastEventId, origin and the source as target', async () => {
  const source = new EventSource(server.origin);
  const event = await next(source, 'message');
  source.close();
  assert.ok(event instanceof MessageEvent);
  const { type, data, lastEventId, origin, target, bubbles, cancelable } = event;
  assert.deepEqual([type, data, lastEventId, origin, bubbles, cancelable], ['message', 'a', '1', server.origin, false, false]);
  assert.equal(target, source);
});

test("an event with a type of its own reaches that type's listeners only", async () => {
  const source = new EventSource(server.origin);
  /** @type {string[]} */ const messages = [];
  source.onmessage = (/** @type {any} */ { data }) => messages.push(data);
  const { data, lastEventId } = await next(source, 'tick');
  assert.deepEqual([data, lastEventId, messages], ['b', '1', ['a']]);
  source.close();
});

test('open and error are plain events, unless the stream uses their names', async () => {
  const source = new EventSource(server.origin);
  assert.equal((await next(source, 'open')) instanceof MessageEvent, false);
  assert.equal((await next(source, 'open')).data, 'named');
  assert.equal((await next(source, 'error')) instanceof MessageEvent, false);
  source.close();
});

test('handler attributes are null, hold one function each and are called on the source', async () => {
  const source = new EventSource(server.origin);
  /** @type {any[]} */ const calls = [];
  for (const name of ['onopen', 'onmessage', 'onerror', 'onrequest', 'onretry', 'oncomment']) assert.equal(source[name], null);
  source.onmessage = () => calls.push('replaced');
  source.addEventListener('message', () => calls.push('listener'));
  const kept = function (/** @type {any} */ event) {
    // @ts-ignore - `this` is what is tested
    calls.push(this === source && event.data);
  };
  source.onmessage = kept;
  assert.equal(source.onmessage, kept);
  await next(source, 'tick');
  assert.deepEqual(calls, ['a', 'listener'], 'the handler keeps the place where the first was set');
  source.onmessage = 'no function';
  assert.equal(source.onmessage, null);
  source.close();
});

test('listeners can be objects, once, and removed', async () => {
  const source = new EventSource(server.origin);
  /** @type {string[]} */ const heard = [];
  const removed = () => heard.push('removed');
  source.addEventListener('message', removed);
  source.removeEventListener('message', removed);
  source.addEventListener('message', { handleEvent: (/** @type {any} */ { data }) => heard.push(data) }, { once: true });
  await next(source, 'tick');
  source.close();
  assert.deepEqual(heard, ['a']);
});

test('the URL is relative to the document, may be a URL object, and must be one', async () => {
  assert.equal(new EventSource(new URL('http://a.test/b'), { signal: AbortSignal.abort() }).url, 'http://a.test/b');
  Object.assign(globalThis, { document: Object.assign(new EventTarget(), { baseURI: `${server.origin}/deep/page` }) });
  try {
    const source = new EventSource('stream?x#y', null);
    assert.equal(source.url, `${server.origin}/deep/stream?x#y`);
    source.close();
    assert.throws(() => new EventSource('http://a b/'), { name: 'SyntaxError', constructor: DOMException });
  } finally {
    delete (/** @type {any} */ (globalThis).document);
  }
  assert.throws(() => new EventSource(), TypeError);
  assert.throws(() => EventSource('/x'), TypeError);
});

test('withCredentials is false unless asked for', () => {
  for (const [options, expected] of /** @type {const} */ ([[undefined, false], [{}, false], [{ withCredentials: true }, true]])) {
    const source = new EventSource(server.origin, options);
    source.close();
    assert.equal(source.withCredentials, expected);
  }
});
