// @ts-check
/** page/sse.js: the decoder, rule by rule, at its limits, and however the bytes were cut. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';

import { Decoder, EventTooLarge } from '../../src/tickertape/page/sse.js';
import { formatCases, joined, pieces } from './support/cases.js';
import { decoded } from './support/decode.js';
import { generator, randomCuts, streamBytes } from './support/random.js';

const utf8 = (/** @type {string} */ text) => new TextEncoder().encode(text);

const { cases, missing } = formatCases();

describe('every conformance case, however it is cut', () => {
  for (const { name, chunks, expected, retry, lastEventId, comments } of cases.filter(({ opens }) => opens)) {
    test(name, () => {
      const whole = joined(chunks);
      for (const cut of [chunks, [whole], ...[1, 2, 3, 7].map((size) => pieces(whole, size))]) {
        const got = decoded(cut);
        assert.deepEqual(got.events.map(({ type, data, id }) => ({ event: type, data, id })), expected);
        assert.equal(got.retry, retry);
        assert.equal(got.lastEventId, lastEventId);
        if (comments) assert.deepEqual(got.comments, comments);
      }
    });
  }
  for (const name of missing) test(`${name} lies beside the checkout`, { skip: 'this file is not there' }, () => {});
});

test('random cuts of random streams give the events of the whole', () => {
  for (let seed = 1; seed <= 1500; seed++) {
    const random = generator(seed);
    const bytes = streamBytes(random);
    assert.deepEqual(decoded(randomCuts(random, bytes)), decoded([bytes]), `seed ${seed}`);
  }
});

test('an event says what its block carried', () => {
  const { events } = decoded([utf8('retry: 10\nid: 7\nevent: tick\ndata: a\ndata: b\n\ndata: c\n\n')]);
  assert.deepEqual(events, [
    { data: 'a\nb', type: 'tick', id: '7', retry: 10 },
    { data: 'c', type: 'message', id: '7', retry: null },
  ]);
});

test('the ID of the response before stands until another one comes', () => {
  const decoder = new Decoder({ lastEventId: '41' });
  assert.equal(decoder.feed(utf8('data: x\n\n'))[0].id, '41');
  assert.equal(decoder.feed(utf8('id: 42\ndata: y\n'))[0], undefined);
  assert.equal(decoder.lastEventId, '41');
  decoder.close();
  assert.equal(decoder.lastEventId, '41');
});

test('a read may be reused by its owner once feed has returned', () => {
  const read = utf8('data: é\n\n');
  const decoder = new Decoder();
  decoder.feed(read.subarray(0, 7)); // ends inside the é
  const rest = read.slice(7);
  read.fill(0x21);
  assert.equal(decoder.feed(rest)[0].data, 'é');
});

describe('an event beyond the limit', () => {
  test('is an error that names the limit, now and for ever', () => {
    const decoder = new Decoder({ maxEventSize: 10 });
    assert.throws(() => decoder.feed(utf8('data: 12345')), { name: 'EventTooLarge', limit: 10, message: /10 bytes/ });
    assert.throws(() => decoder.feed(utf8('\n\n')), EventTooLarge);
    assert.throws(() => decoder.close(), EventTooLarge);
  });

  test('does not swallow the events before it in the same read', () => {
    const decoder = new Decoder({ maxEventSize: 20 });
    assert.equal(decoder.feed(utf8('data: a\n\ndata: b\n\n' + 'data: ' + 'x'.repeat(50))).length, 2);
    assert.throws(() => decoder.feed(utf8('')), EventTooLarge);
  });

  test('is found at the same byte however the stream is cut', () => {
    for (let seed = 1; seed <= 400; seed++) {
      const random = generator(seed);
      const bytes = utf8(new TextDecoder().decode(streamBytes(random, 60)));
      const limit = 1 + Math.floor(random() * 30);
      assert.deepEqual(outcome(randomCuts(random, bytes), limit), outcome([bytes], limit), `seed ${seed}`);
    }
  });

  test('counts bytes, not characters, and all data lines of the block', () => {
    assert.equal(new Decoder({ maxEventSize: 16 }).feed(utf8('data: 日本語\n\n')).length, 1);
    assert.throws(() => new Decoder({ maxEventSize: 14 }).feed(utf8('data: 日本語\n\n')), EventTooLarge);
    assert.throws(() => new Decoder({ maxEventSize: 40 }).feed(utf8('data: 0123456789\n'.repeat(5))), EventTooLarge);
    assert.equal(new Decoder({ maxEventSize: 40 }).feed(utf8('data: 0123456789\n\n'.repeat(5))).length, 5);
  });

  test('cannot be forbidden altogether', () => {
    assert.throws(() => new Decoder({ maxEventSize: 0 }), RangeError);
    assert.throws(() => new Decoder({ maxEventSize: NaN }), RangeError);
  });

  /** @param {Uint8Array[]} chunks @param {number} maxEventSize */
  function outcome(chunks, maxEventSize) {
    const decoder = new Decoder({ maxEventSize });
    /** @type {unknown[]} */ const seen = [];
    try {
      for (const chunk of chunks) seen.push(...decoder.feed(chunk));
      decoder.close();
    } catch (error) {
      assert.ok(error instanceof EventTooLarge);
      seen.push('too large');
    }
    return seen;
  }
});

/** Milliseconds that this process worked: the clock on the wall sees what others do. */
const cpu = () => process.cpuUsage().user / 1000;

describe('a hostile stream', () => {
  test('of one line in a hundred thousand reads is decoded in linear time', () => {
    const time = (/** @type {number} */ count) => {
      const decoder = new Decoder();
      const start = cpu();
      decoder.feed(utf8('data: '));
      const piece = utf8('0123456789');
      for (let at = 0; at < count; at++) decoder.feed(piece);
      assert.equal(decoder.feed(utf8('\n\n'))[0].data.length, 10 * count);
      return cpu() - start;
    };
    time(10_000);
    const [short, long] = [time(12_500), time(100_000)];
    assert.ok(long < 8 * short * 4 + 100, `8 times the reads took ${long.toFixed()} ms after ${short.toFixed()} ms`);
  });

  test('of one event of 14 MB in reads of 1 460 bytes takes less than two seconds of work', () => {
    const decoder = new Decoder();
    const body = utf8(`data: ${'x'.repeat(14e6)}\n\n`);
    const start = cpu();
    const events = pieces(body, 1460).flatMap((piece) => decoder.feed(piece));
    assert.equal(events[0].data.length, 14e6);
    assert.ok(cpu() - start < 2000);
  });

  test('of a million comments, twenty digits and NULs costs neither memory nor sense', () => {
    let comments = 0;
    const decoder = new Decoder({ maxEventSize: 1000, onComment: () => comments++ });
    const many = utf8(': ping\n'.repeat(10_000));
    for (let at = 0; at < 100; at++) assert.deepEqual(decoder.feed(many), []);
    decoder.feed(utf8('retry: 99999999999999999999\nid: a\0b\n\n'));
    assert.equal(comments, 1_000_000);
    assert.equal(decoder.retry, Number.MAX_SAFE_INTEGER);
    assert.equal(decoder.lastEventId, '');
  });

  test('that never ends its line is stopped at the limit', () => {
    const decoder = new Decoder({ maxEventSize: 100_000 });
    const piece = utf8('x'.repeat(999));
    let reads = 0;
    assert.throws(() => {
      for (; reads < 1000; reads++) decoder.feed(piece);
    }, EventTooLarge);
    assert.equal(reads, 100);
  });
});
