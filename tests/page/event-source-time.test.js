// @ts-check
/** page/event-source.js: when it comes back, and when silence is a lost connection. The clock is the test's own. */
import assert from 'node:assert/strict';
import { afterEach, beforeEach, mock, test } from 'node:test';

import { played, settle, withGlobals } from './support/sources.js';

/** @param {number} ms */
async function pass(ms) {
  mock.timers.tick(ms);
  await settle();
}

beforeEach(() => mock.timers.enable({ apis: ['setTimeout', 'Date'] }));
afterEach(() => mock.timers.reset());

test('a reconnect comes after the reconnection time, and later each time nothing comes of it', async () => {
  const { calls, play, source } = played({ random: () => 1, reconnectionTime: 1000 });
  await settle();
  for (const [attempt, delay] of [1000, 2000, 4000, 8000].entries()) {
    play.refuse();
    await settle();
    await pass(delay - 1);
    assert.equal(calls.length, attempt + 1);
    await pass(1);
    assert.equal(calls.length, attempt + 2);
  }
  source.close();
});

test('a connection that brought an event or an ID was no failure', async () => {
  const { play, source, seen } = played({ random: () => 1, reconnectionTime: 1000 });
  await settle();
  for (const body of ['', '', 'data: x\n\n', 'data: y\n\n', 'id: 1\n\n', '']) {
    play.answer(200, {}, body);
    await settle();
    await pass(10_000);
  }
  const delays = seen.filter((it) => it.startsWith('error')).map((it) => Number(it.split(' ').at(-1)));
  assert.deepEqual(delays, [1000, 2000, 1000, 1000, 1000, 2000]);
  source.close();
});

test('Retry-After of a 503 is honoured, and neither the network nor the tab shortens it', async () => {
  await withGlobals(async (globals) => {
    const { calls, play, source } = played({ reconnecting: true });
    await settle();
    play.answer(503, { 'Retry-After': '20' }, '');
    await settle();
    globals.dispatchEvent(new Event('online'));
    await pass(19_999);
    assert.equal(calls.length, 1);
    await pass(1);
    assert.equal(calls.length, 2);
    source.close();
  });
});

test('coming back online ends a wait', async () => {
  await withGlobals(async (globals) => {
    const { calls, play, source } = played();
    await settle();
    play.refuse();
    await settle();
    globals.dispatchEvent(new Event('online'));
    await settle();
    assert.equal(calls.length, 2);
    source.close();
  });
});

test('showing the tab ends a wait, hiding it does not', async () => {
  await withGlobals(async (_, document) => {
    const { calls, play, source } = played();
    await settle();
    play.refuse();
    await settle();
    for (const [state, requests] of [['hidden', 1], ['visible', 2]]) {
      document.visibilityState = state;
      document.dispatchEvent(new Event('visibilitychange'));
      await settle();
      assert.equal(calls.length, requests);
    }
    source.close();
  });
});

test('a strict source hears neither', async () => {
  await withGlobals(async (globals) => {
    const { calls, play, source } = played({ strict: true });
    await settle();
    play.refuse();
    await settle();
    globals.dispatchEvent(new Event('online'));
    await settle();
    assert.equal(calls.length, 1);
    source.close();
  });
});

test('silence beyond readTimeout is a lost connection; comments and bytes of a line are no silence', async () => {
  const { calls, play, source, seen } = played({ readTimeout: 10_000, reconnectionTime: 0 });
  await settle();
  play.answer();
  for (const sent of [': ping\n', 'da', 'ta: x\n\n']) {
    await pass(9_000);
    play.send(sent);
    await settle();
  }
  await pass(9_999);
  assert.equal(source.readyState, 1);
  await pass(1);
  assert.deepEqual(seen, ['open 200', 'x', 'error silent 0 0']);
  await pass(0);
  assert.equal(calls.length, 2);
  source.close();
});

test('a server that accepts and says nothing is silent too', async () => {
  const { source, seen } = played({ readTimeout: 10_000 });
  await settle();
  await pass(10_000);
  assert.deepEqual(seen, ['error silent 0 3000']);
  source.close();
});

test('a laptop that slept finds out as it wakes', async () => {
  await withGlobals(async (globals) => {
    const { play, source, seen } = played({ readTimeout: 10_000 });
    await settle();
    play.answer();
    await settle();
    mock.timers.setTime(Date.now() + 3_600_000); // timers stand still in sleep, the clock does not
    globals.dispatchEvent(new Event('online'));
    await settle();
    assert.equal(seen[1].startsWith('error silent 0'), true, seen.join());
    source.close();
  });
});

test('a reconnection time of years is waited for, not fired at once', async () => {
  const { calls, play, source } = played({ strict: true });
  await settle();
  play.answer(200, {}, 'retry: 9007199254740991\n\n');
  await settle();
  await pass(86_400_000);
  assert.equal(calls.length, 1);
  source.close();
});
