// @ts-check
/** page/reconnect.js: the two tables and the delays, as sse/reconnect.py has them. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';

import {
  backoff, HEALTHY_AFTER, isEventStream, Loss, POLICY, policyOf, Reconnector, retryAfter, STRICT, Verdict, verdict,
} from '../../src/tickertape/page/reconnect.js';

const URL_ = 'http://example.test/a';
const SSE = 'text/event-stream';

/** @param {Partial<import('../../src/tickertape/page/reconnect.js').Policy>} policy */
function machine(policy = {}, method = 'GET', random = () => 1) {
  return new Reconnector(URL_, method, { ...POLICY, ...policy }, random);
}

/** @param {Reconnector} it @param {number} status @param {Record<string, string>} headers */
const answered = (it, status, headers = {}, now = 0) => it.answered(status, new Headers(headers), URL_, now);
const open = (/** @type {Reconnector} */ it, headers = {}) => answered(it, 200, { 'Content-Type': SSE, ...headers });

test('the content type is compared by its essence alone', () => {
  for (const type of [SSE, 'Text/Event-Stream', `${SSE};`, ` ${SSE} ; charset=x`]) assert.ok(isEventStream(type), type);
  for (const type of ['', 'text/event-streams', 'text/plain', `x ${SSE}`, 'text/event']) assert.ok(!isEventStream(type), type);
});

test('the first table says what an answer means', () => {
  const rows = /** @type {const} */ ([
    // status, type, first, on a reconnect, on a reconnect without recover
    [200, SSE, Verdict.READ, Verdict.READ, Verdict.READ],
    [200, 'text/html', Verdict.REFUSE, Verdict.REFUSE, Verdict.REFUSE],
    [204, '', Verdict.END, Verdict.END, Verdict.END],
    [204, SSE, Verdict.END, Verdict.END, Verdict.END],
    ...[408, 425, 429, 500, 502, 503, 504].map((status) => /** @type {const} */ ([status, SSE, Verdict.REFUSE, Verdict.RETRY, Verdict.REFUSE])),
    ...[201, 205, 210, 302, 400, 401, 403, 404, 409, 410, 501, 505].map((status) => /** @type {const} */ ([status, SSE, Verdict.REFUSE, Verdict.REFUSE, Verdict.REFUSE])),
  ]);
  for (const [status, type, first, again, strict] of rows) {
    assert.equal(verdict(status, type, { reconnecting: false, recover: true }), first, `${status}`);
    assert.equal(verdict(status, type, { reconnecting: true, recover: true }), again, `${status} again`);
    assert.equal(verdict(status, type, { reconnecting: true, recover: false }), strict, `${status} strict`);
  }
});

describe('the second table says what a loss means', () => {
  for (const loss of Object.values(Loss)) {
    test(`${loss}: a GET waits, a POST stops, a POST that may be repeated waits`, () => {
      assert.equal(machine().lost(loss, '', 0).do, 'wait');
      assert.equal(machine({}, 'POST').lost(loss, '', 0).do, 'stop');
      assert.equal(machine({ repost: true }, 'POST').lost(loss, '', 0).do, 'wait');
    });
  }

  test('a POST that simply ended is no error, one that broke is', () => {
    assert.equal(machine({}, 'POST').lost(Loss.ENDED, '', 0).message, null);
    assert.match(machine({}, 'POST').lost(Loss.BROKEN, 'reset', 0).message ?? '', /broke: reset\. A POST is not sent again/);
  });
});

describe('after a POST', () => {
  test('whose answer names a Location, reconnects read that with GET and no body', () => {
    const it = machine({}, 'POST');
    open(it, { Location: '/v1/streams/1' });
    assert.deepEqual([it.url, it.method, it.withBody, it.location], ['http://example.test/v1/streams/1', 'GET', false, it.url]);
    assert.equal(it.sameOrigin, true);
    assert.equal(it.lost(Loss.ENDED, '', 0).do, 'wait');
  });

  test("whose Location lies on another origin, the caller's headers stay at home", () => {
    const it = machine({}, 'POST');
    open(it, { Location: 'http://other.test/s' });
    assert.equal(it.sameOrigin, false);
  });

  test('whose Location is no URL of a web server, nothing is read again', () => {
    for (const location of ['http://:::', 'data:text/event-stream,x', 'javascript:0']) {
      const it = machine({}, 'POST');
      open(it, { Location: location });
      assert.equal(it.location, null);
      assert.equal(it.lost(Loss.BROKEN, '', 0).do, 'stop');
    }
  });
});

test('a GET pays no heed to a Location', () => {
  const it = machine();
  open(it, { Location: '/elsewhere' });
  assert.equal(it.url, URL_);
});

describe('the delay', () => {
  test('is the reconnection time, and doubles at most with each connection that brings nothing, up to a ceiling', () => {
    assert.equal(backoff(3000, 0, 60_000, 1), 3000);
    assert.equal(backoff(3000, 1, 60_000, 1), 6000);
    assert.equal(backoff(3000, 1, 60_000, 0), 3000);
    assert.equal(backoff(3000, 2, 60_000, 0.5), 7500);
    assert.equal(backoff(3000, 99, 60_000, 1), 60_000);
    assert.equal(backoff(0, 0, 60_000, 1), 0);
    assert.equal(backoff(0, 1, 60_000, 1), 1000);
  });

  test('starts over after a connection that brought an event', () => {
    const it = machine();
    const delays = [false, false, true, false].map((progress) => {
      open(it);
      if (progress) it.progressed();
      const action = it.lost(Loss.ENDED, '', 0);
      return action.do === 'wait' && [action.delay, action.attempt];
    });
    assert.deepEqual(delays, [[3000, 1], [6000, 2], [3000, 1], [6000, 2]]);
  });

  test('starts over after a connection that stood for ten seconds', () => {
    const it = machine();
    it.lost(Loss.BROKEN, '', 0);
    open(it);
    assert.equal(/** @type {any} */ (it.lost(Loss.SILENT, '', HEALTHY_AFTER)).delay, 3000);
  });

  test('never grows when strict, whatever happened', () => {
    const it = machine(STRICT);
    it.reconnectionTime = 100;
    for (let i = 0; i < 5; i++) assert.equal(/** @type {any} */ (it.lost(Loss.BROKEN, '', 0)).delay, 100);
  });

  test('is never shorter than Retry-After', () => {
    const it = machine();
    open(it);
    const action = /** @type {any} */ (answered(it, 503, { 'Retry-After': '7' }));
    assert.deepEqual([action.do, action.delay, action.least, action.status], ['wait', 7000, 7000, 503]);
  });

  test('that is longer than maxWait is an error that says both', () => {
    const it = machine({ maxWait: 5000 });
    open(it);
    assert.match(/** @type {any} */ (answered(it, 429, { 'Retry-After': '7' })).message, /7000 ms, and maxWait is 5000 ms/);
  });
});

test('maxRetries counts connections in a row without an event', () => {
  const it = machine({ maxRetries: 2 });
  assert.deepEqual([1, 2, 3].map(() => it.lost(Loss.BROKEN, '', 0).do), ['wait', 'wait', 'stop']);
  assert.deepEqual(machine({ maxRetries: 0 }).lost(Loss.ENDED, '', 0), { do: 'stop', reason: 'ended', message: null, status: null });
});

test('Retry-After is seconds or an HTTP date by the clock of the server', () => {
  const now = Date.parse('Mon, 02 Nov 2026 10:00:00 GMT');
  const after = (/** @type {Record<string, string>} */ headers) => retryAfter(new Headers(headers), now);
  assert.equal(after({ 'Retry-After': '120' }), 120_000);
  assert.equal(after({ 'Retry-After': 'Mon, 02 Nov 2026 10:00:30 GMT' }), 30_000);
  assert.equal(after({ 'Retry-After': 'Mon, 02 Nov 2026 10:00:30 GMT', Date: 'Mon, 02 Nov 2026 10:00:25 GMT' }), 5_000);
  assert.equal(after({ 'Retry-After': 'Mon, 02 Nov 2026 09:00:00 GMT' }), 0);
  for (const value of ['-5', '1.5', '1_0', '0x10', 'soon', 'May 9999']) assert.equal(after({ 'Retry-After': value }), 0, value);
  assert.equal(after({}), 0);
});

test('a stream that is known to be there is judged as on a reconnect from the first answer on', () => {
  assert.equal(answered(machine({ reconnecting: true }), 502).do, 'wait');
  assert.equal(answered(machine(), 502).do, 'stop');
});

test('refusals are sentences with what was read', () => {
  assert.match(/** @type {any} */ (answered(machine(), 404)).message, /^http:\/\/example\.test\/a answered 404$/);
  const wrong = /** @type {any} */ (answered(machine(), 200, { 'Content-Type': 'text/html' }));
  assert.deepEqual([wrong.reason, wrong.message], ['type', `${URL_} answered with the content type "text/html", not text/event-stream`]);
  assert.match(/** @type {any} */ (answered(machine(), 200)).message, /no content type/);
  assert.deepEqual(answered(machine(), 204), { do: 'stop', reason: 'finished', message: null, status: 204 });
});

test('what a caller leaves out or undefined is the default, strict or not', () => {
  assert.deepEqual(policyOf({ readTimeout: undefined }), POLICY);
  assert.deepEqual(policyOf({ strict: true, reconnectionTime: 5 }), { ...STRICT, reconnectionTime: 5 });
});
