// @ts-check
/** page/event-source.js: what is sent, what is told, and that closing closes. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { describe, mock, test } from 'node:test';

import { ResumableEventSource } from '../../src/tickertape/page/event-source.js';
import { STREAM, head, listen } from './support/server.js';
import { next, played, settle, withGlobals } from './support/sources.js';

/** @param {import('./support/server.js').Answer} answer @param {(origin: string, server: any) => Promise<void>} run */
async function serving(answer, run) {
  const server = await listen(answer);
  try {
    await run(server.origin, server);
  } finally {
    await server.close();
  }
}

describe('a request', () => {
  test('carries what the caller gave, and says what it wants', () =>
    serving((_, socket) => socket.end(head(204)), async (origin, server) => {
      const source = new ResumableEventSource(`${origin}/p?q=1`, {
        method: 'post', json: { a: 'é' }, headers: { Authorization: 'Bearer k' }, lastEventId: '…1',
      });
      await next(source, 'error');
      const [{ method, path, headers, body }] = server.requests;
      assert.deepEqual([method, path, headers.authorization, headers['content-type']], ['POST', '/p?q=1', 'Bearer k', 'application/json']);
      assert.equal(headers.accept, 'text/event-stream');
      assert.equal(Buffer.from(headers['last-event-id'], 'latin1').toString(), '…1');
      assert.equal(Buffer.from(body, 'latin1').toString(), '{"a":"é"}');
    }));

  test('has no Last-Event-ID while there is none', async () => {
    const { calls, source } = played();
    await settle();
    assert.equal(calls[0].init.headers.has('last-event-id'), false);
    source.close();
  });

  test('asks a headers function anew each time, which may be asynchronous', async () => {
    let token = 0;
    const { calls, play, source } = played({ headers: async () => ({ Authorization: `Bearer ${++token}` }), reconnectionTime: 0 });
    await settle();
    play.answer(200, {}, 'data: x\n\n');
    await next(source, 'tickertape:request');
    await settle();
    assert.deepEqual(calls.map((call) => call.init.headers.get('authorization')), ['Bearer 1', 'Bearer 2']);
    source.close();
  });

  test('after a POST has neither its body nor the headers that belong to it', async () => {
    const headers = { Authorization: 'k', 'Idempotency-Key': '1' };
    const { calls, play, source } = played({ method: 'POST', json: [], headers, reconnectionTime: 0 });
    await settle();
    play.answer(200, { Location: '/v1/streams/7' }, 'id: 7.1\ndata: x\n\n');
    await next(source, 'tickertape:request');
    await settle();
    const { url, init } = calls[1];
    assert.deepEqual([url, init.method, init.body], ['http://example.test/v1/streams/7', 'GET', undefined]);
    assert.deepEqual([...init.headers.keys()], ['accept', 'authorization', 'last-event-id']);
    assert.equal(source.location, url);
    source.close();
  });

  test('sends cookies to other origins only if told', async () => {
    for (const [withCredentials, credentials] of [[true, 'include'], [false, 'same-origin']]) {
      const { calls, source } = played({ withCredentials });
      await settle();
      assert.equal(calls[0].init.credentials, credentials);
      assert.equal(source.withCredentials, withCredentials);
      source.close();
    }
  });

  test('that no fetch would send is refused at once', () => {
    assert.throws(() => new ResumableEventSource('http://a.test', { body: 'x' }), { name: 'TypeError', message: /no body/ });
    assert.throws(() => new ResumableEventSource('http://a.test', { headers: { 'a b': 'c' } }), { name: 'TypeError' });
  });
});

describe('what is told', () => {
  test('on open: status, headers, where it came from', async () => {
    const { play, source } = played();
    await settle();
    play.answer(200, { 'X-A': '1' });
    const open = await next(source, 'open');
    assert.deepEqual([open.status, open.headers.get('x-a'), open.url], [200, '1', 'http://example.test/a']);
    source.close();
  });

  test('with a message: its ID, its retry, its bytes, its origin', async () => {
    const { play, source } = played();
    await settle();
    const frame = 'id: 1\nevent: é\nretry: 10\ndata: ü\ndata: 日本👍\n\n';
    play.answer(200, {}, frame);
    const event = await next(source, 'é');
    assert.deepEqual([event.lastEventId, event.retry, event.bytes, event.origin], ['1', 10, Buffer.byteLength(frame), 'http://example.test']);
    source.close();
  });

  test('bytesReceived counts everything, comments and the unfinished included', async () => {
    const { play, source } = played();
    await settle();
    play.answer(200, {}, ': ping\ndata: x\n\ndata: y');
    await next(source, 'error');
    assert.equal(source.bytesReceived, 23);
    source.close();
  });

  test('before a request, a wait and of each comment', async () => {
    const { play, source } = played();
    /** @type {unknown[]} */ const told = [];
    source.onrequest = ({ detail }) => told.push(detail);
    source.onretry = ({ detail }) => told.push([detail.delay, detail.reason, detail.attempt]);
    source.oncomment = ({ detail }) => told.push(detail.text);
    await settle();
    play.answer(200, {}, ': ping\nretry: 5000\nid: 1\n\n');
    await next(source, 'tickertape:retry');
    assert.deepEqual(told, [{ method: 'GET', url: 'http://example.test/a', lastEventId: '' }, ' ping', [5000, 'ended', 1]]);
    source.close();
  });

  test('of a refusal: the status, the sentence and what its JSON says', async () => {
    const { play, source, seen } = played();
    await settle();
    play.answer(401, { 'Content-Type': 'application/json' }, '{"error":{"message":"No key.","code":"auth"}}');
    const event = await next(source, 'error');
    assert.deepEqual([event.status, event.reason, event.error.message, event.error.code], [401, 'status', 'No key.', 'auth']);
    assert.match(event.message, /answered 401/);
    assert.deepEqual(seen, ['error status 2 null']);
  });

  test('of a refusal without JSON: its text', async () => {
    const { play, source } = played();
    await settle();
    play.answer(200, { 'Content-Type': 'text/html' }, '<title>Log in</title>');
    const event = await next(source, 'error');
    assert.deepEqual([event.reason, event.error, event.body], ['type', null, '<title>Log in</title>']);
  });

  test('of a refusal that never ends: at most 64 KiB of it, and the connection is let go', () =>
    serving((_, socket) => {
      socket.write(head(500, { 'Content-Type': 'text/plain' }));
      socket.write('x'.repeat(200_000));
    }, async (origin, server) => {
      const gone = server.closed();
      const event = await next(new ResumableEventSource(origin), 'error');
      assert.ok(event.body.length >= 65_536 && event.body.length < 200_000);
      await gone;
    }));

  test('of a refusal that is waited out: no more than that, and the connection is let go', () =>
    serving((_, socket) => void socket.write(head(503, { 'Content-Type': 'text/plain' }) + 'x'), async (origin, server) => {
      const gone = server.closed();
      const source = new ResumableEventSource(origin, { reconnecting: true });
      const event = await next(source, 'error');
      assert.deepEqual([event.status, event.body, event.delay], [503, '', 3000]);
      await gone;
      source.close();
      assert.equal(server.requests.length, 1, 'not only when the next request was under way');
    }));

  test('of a broken connection: the cause that fetch hides', async () => {
    const { play, source } = played();
    await settle();
    play.refuse();
    const event = await next(source, 'error');
    assert.equal(event.message, 'The connection to http://example.test/a broke: fetch failed: connect ECONNREFUSED');
    assert.deepEqual([event.reason, event.delay, source.readyState], ['broken', 3000, 0]);
    source.close();
  });

  test('of the end that a server asks for: finished, without a complaint', async () => {
    const { play, source } = played();
    await settle();
    play.answer(204);
    const event = await next(source, 'error');
    assert.deepEqual([event.reason, event.message, event.status, source.readyState], ['finished', null, 204, 2]);
  });

  test('of an event beyond the limit: the events before it, then the limit, for good', async () => {
    const { play, source, seen } = played({ maxEventSize: 20 });
    await settle();
    play.answer(200, {}, `data: a\n\ndata: ${'x'.repeat(30)}`);
    const event = await next(source, 'error');
    assert.match(event.message, /more than 20 bytes/);
    assert.deepEqual(seen, ['open 200', 'a', 'error too-large 2 null']);
  });
});

describe('closing', () => {
  test('closes the socket at once', () =>
    serving((_, socket) => void socket.write(head(200, STREAM) + 'data: x\n\n'), async (origin, server) => {
      const source = new ResumableEventSource(origin);
      await next(source, 'message');
      const gone = server.closed();
      source.close();
      await gone;
      assert.equal(source.readyState, 2);
    }));

  test('closes the socket of a request that has no answer yet', () =>
    serving(() => undefined, async (origin, server) => {
      const source = new ResumableEventSource(origin);
      await next(source, 'tickertape:request');
      while (!server.requests.length) await settle();
      const gone = server.closed();
      source.close();
      await gone;
    }));

  test('leaves nothing behind that keeps a program running', () => {
    const script = `
      import { ResumableEventSource } from ${JSON.stringify(new URL('../../src/tickertape/page/event-source.js', import.meta.url).href)};
      const fetch = async () => { throw new TypeError('no network'); };
      const source = new ResumableEventSource('http://a.test/', { fetch, reconnectionTime: 600_000 });
      source.onretry = () => setImmediate(() => source.close());`;
    execFileSync(process.execPath, ['--input-type=module', '-e', script], { timeout: 20_000 });
  });

  test('in a listener is the last thing heard, even of the same read', async () => {
    const { play, source, seen } = played();
    source.addEventListener('message', () => source.close());
    await settle();
    play.answer(200, {}, 'id: 1\ndata: a\n\nid: 2\ndata: b\n\n');
    await settle();
    await settle();
    assert.deepEqual(seen, ['open 200', 'a']);
    assert.equal(source.lastEventId, '1');
  });

  test('in the error listener keeps it from coming back', async () => {
    const { calls, play, source, seen } = played({ reconnectionTime: 0 });
    source.addEventListener('error', () => source.close());
    await settle();
    play.refuse();
    await settle();
    await settle();
    assert.deepEqual([seen, calls.length], [['error broken 0 0'], 1]);
  });

  test('before the first request keeps it from being made', async () => {
    const { calls, source } = played();
    source.close();
    await settle();
    assert.equal(calls.length, 0);
  });

  test("is what the caller's signal does", async () => {
    const controller = new AbortController();
    const { calls, source } = played({ signal: controller.signal });
    await settle();
    controller.abort();
    assert.equal(source.readyState, 2);
    assert.equal(calls[0].init.signal.aborted, true);
    assert.equal(played({ signal: controller.signal }).source.readyState, 2);
  });

  test('lets go of the window', async () => {
    await withGlobals(async (globals) => {
      const { source } = played();
      const removed = mock.method(globals, 'removeEventListener');
      source.close();
      assert.deepEqual(removed.mock.calls.map((call) => call.arguments[0]), ['online']);
    });
  });
});
