// @ts-check
/** page/stream.js: wherever the connection is cut, the client delivers the recorded answer, each event once, in order. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';

import { ResumableEventSource } from '../../src/tickertape/page/stream.js';
import { generator } from './support/random.js';
import { STREAM, chunk, head, listen } from './support/server.js';

const STREAM_ID = '0123456789abcdef';
const WORDS = ['', 'Hel', 'lo, ', 'wörld ', '日本語', ' 👍🏽', '\\n\\n', 'end'];
const FRAMES = [
  ...WORDS.map((word) => `{"choices":[{"delta":{"content":"${word}"}}]}`),
  '[DONE]',
].map((data, index) => `id: ${STREAM_ID}.${index + 1}\n${index ? '' : 'retry: 0\n'}data: ${data}\n\n${index === 3 ? ': ping\n' : ''}`);
const EXPECTED = FRAMES.map((frame) => (/data: (.*)\n/.exec(frame) ?? [])[1]);

/** The bytes of the answer from this cursor on, head and chunks. @param {string | undefined} cursor */
function recorded(cursor, headers = {}) {
  const from = Number(cursor?.split('.')[1] ?? 0);
  if (from === FRAMES.length) return Buffer.from(head(204));
  const answer = head(200, { ...STREAM, 'Transfer-Encoding': 'chunked', ...headers });
  return Buffer.concat([Buffer.from(answer), ...FRAMES.slice(from).map(chunk), chunk('')]);
}

/**
 * Read the whole answer through a server that breaks connection i after `limits(i)` bytes.
 * @param {(connection: number) => number} limits @param {(socket: import('node:net').Socket) => void} cut
 */
async function readThrough(limits, cut, options = {}) {
  let connection = 0;
  const server = await listen((request, socket) => {
    const first = request.method === 'POST' ? { Location: `/v1/streams/${STREAM_ID}` } : {};
    const bytes = recorded(request.headers['last-event-id'], first);
    const limit = limits(connection++);
    if (limit >= bytes.length) socket.end(bytes);
    else socket.write(bytes.subarray(0, limit), () => cut(socket));
  });
  const source = new ResumableEventSource(`${server.origin}/v1/x`, { reconnectionTime: 0, maxDelay: 0, ...options });
  /** @type {string[]} */ const got = [];
  const error = await new Promise((resolve) => {
    source.onmessage = ({ data }) => data === '[DONE]' && got.push(data) ? resolve(null) : got.push(data);
    source.onerror = (event) => source.readyState === source.CLOSED && resolve(event);
  });
  source.close();
  const methods = server.requests.map(({ method }) => method).join(' ');
  await server.close();
  return { got, error, methods };
}

const close = (/** @type {import('node:net').Socket} */ socket) => void socket.destroy();
const reset = (/** @type {import('node:net').Socket} */ socket) => void socket.resetAndDestroy();
const HEAD = head(200, { ...STREAM, 'Transfer-Encoding': 'chunked', Location: `/v1/streams/${STREAM_ID}` }).length;
const WHOLE = recorded(undefined).length;

/** @param {number} count @param {(n: number) => Promise<void>} run eight at a time */
async function forEvery(count, run) {
  let next = 0;
  await Promise.all(Array.from({ length: 8 }, async () => {
    while (next < count) await run(next++);
  }));
}

describe(`an answer of ${WHOLE} bytes`, () => {
  test('read with GET is whole after a cut at every byte, head included', async () => {
    await forEvery(WHOLE, async (n) => {
      const { got } = await readThrough((i) => (i ? Infinity : n), n % 2 ? close : reset);
      assert.deepEqual(got, EXPECTED, `cut after ${n} bytes`);
    });
  });

  test('to a POST is whole after a cut at every byte of its body, and asked for once', async () => {
    await forEvery(WHOLE - HEAD, async (n) => {
      const { got, methods } = await readThrough((i) => (i ? Infinity : HEAD + n), n % 2 ? close : reset, { method: 'POST', json: {} });
      assert.deepEqual(got, EXPECTED, `cut after ${n} bytes of the body`);
      assert.match(methods, /^POST( GET)*$/);
    });
  });

  test('to a POST that is cut within its head is an error, never a second POST', async () => {
    for (const n of [0, 1, 40, HEAD - 1]) {
      const { got, error, methods } = await readThrough(() => n, reset, { method: 'POST', json: {} });
      assert.deepEqual(got, []);
      assert.equal(methods, 'POST');
      assert.match(error.message, /A POST is not sent again/);
    }
  });

  test('to a POST that may be repeated is whole after a cut within its head', async () => {
    for (const n of [0, 1, 40, HEAD - 1]) {
      const { got, methods } = await readThrough((i) => (i ? Infinity : n), reset, { method: 'POST', json: {}, repost: true });
      assert.deepEqual(got, EXPECTED);
      assert.equal(methods, 'POST POST');
    }
  });

  test('is whole when every connection breaks somewhere', async () => {
    await forEvery(60, async (seed) => {
      const random = generator(seed);
      const { got } = await readThrough(() => Math.floor(random() * 600), random() < 0.5 ? close : reset);
      assert.deepEqual(got, EXPECTED, `seed ${seed}`);
    });
  });
});
