// @ts-check
/** page/event-source.js: wherever the connection is cut, the client delivers the recorded answer, each event once, in order. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';

import { ResumableEventSource } from '../../src/tickertape/page/event-source.js';
import { generator } from './support/random.js';
import { EXPECTED, answerUpTo, sizes } from './support/recorded.js';
import { listen } from './support/server.js';

const POST = { method: 'POST', json: {} };
const PATH = '/v1/streams/1';

/** Read the whole answer through a server that breaks connection i after `limits(i)` bytes. @param {(i: number) => number} limits */
async function readThrough(limits, options = {}) {
  let connection = 0;
  const server = await listen((request, socket) => answerUpTo(limits(connection++), request, socket));
  const source = new ResumableEventSource(server.origin + PATH, { reconnectionTime: 0, maxDelay: 0, ...options });
  /** @type {string[]} */ const got = [];
  const error = await new Promise((resolve) => {
    source.onmessage = ({ data }) => {
      got.push(data);
      if (data === '[DONE]') resolve(null);
    };
    source.onerror = (event) => source.readyState === source.CLOSED && resolve(event);
  });
  source.close();
  const methods = server.requests.map(({ method }) => method).join(' ');
  await server.close();
  return { got, error, methods };
}

/** @param {number} from @param {number} to @param {(n: number) => Promise<void>} run eight at a time */
async function forEvery(from, to, run) {
  let next = from;
  const worker = async () => {
    while (next < to) await run(next++);
  };
  await Promise.all([1, 2, 3, 4, 5, 6, 7, 8].map(worker));
}

const first = (/** @type {number} */ limit) => (/** @type {number} */ connection) => (connection ? Infinity : limit);

describe('an answer', () => {
  test('read with GET is whole after a cut at every byte, head included', async () => {
    await forEvery(0, sizes('GET').whole, async (n) => {
      const { got } = await readThrough(first(n));
      assert.deepEqual(got, EXPECTED, `cut after ${n} bytes`);
    });
  });

  test('to a POST is whole after a cut at every byte of its body, and asked for once', async () => {
    const { head, whole } = sizes('POST', PATH);
    await forEvery(head, whole, async (n) => {
      const { got, methods } = await readThrough(first(n), POST);
      assert.deepEqual(got, EXPECTED, `cut after ${n} bytes`);
      assert.match(methods, /^POST( GET)*$/);
    });
  });

  test('to a POST that is cut within its head is an error, never a second POST', async () => {
    for (const n of [0, 1, 40, sizes('POST', PATH).head - 1]) {
      const { got, error, methods } = await readThrough(first(n), POST);
      assert.deepEqual(got, []);
      assert.equal(methods, 'POST');
      assert.match(error.message, /A POST is not sent again/);
    }
  });

  test('to a POST that may be repeated is whole after a cut within its head', async () => {
    for (const n of [0, 1, 40, sizes('POST', PATH).head - 1]) {
      const { got, methods } = await readThrough(first(n), { ...POST, repost: true });
      assert.deepEqual(got, EXPECTED);
      assert.equal(methods, 'POST POST');
    }
  });

  test('is whole when every connection breaks somewhere', async () => {
    await forEvery(1, 60, async (seed) => {
      const random = generator(seed);
      const { got } = await readThrough(() => Math.floor(random() * 600));
      assert.deepEqual(got, EXPECTED, `seed ${seed}`);
    });
  });
});
