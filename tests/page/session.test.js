// @ts-check
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { coalesce } from '../../src/tickertape/page/api.js';
import { message } from '../../src/tickertape/page/chat.js';
import { EchoFilter } from '../../src/tickertape/page/session.js';

test('what was asked and read here says nothing new on the feed, what happens to it later does', () => {
  const echoes = new EchoFilter();
  const answer = message({ chat: 'c', parent: 'q', role: 'assistant', stream: 's', state: 'completed' });
  const change = (/** @type {'message' | 'ended' | 'updated'} */ what) => ({ what, message_id: answer.id });
  assert.equal(echoes.isEcho(change('message'), answer), false);
  echoes.expect(answer.id);
  assert.equal(echoes.isEcho(change('updated'), answer), false);
  assert.equal(echoes.isEcho(change('message'), answer), true);
  assert.equal(echoes.isEcho(change('ended'), answer), true);
  assert.equal(echoes.isEcho(change('message'), answer), false, 'it is gone on with elsewhere');
  echoes.expect(answer.id);
  assert.equal(echoes.isEcho(change('ended'), { ...answer, state: 'running' }), false, 'its end was not read here');
});

test('what is asked for while it is done is done once more', async () => {
  let [running, done] = [0, 0];
  /** @type {(() => void)[]} */ const finish = [];
  const work = coalesce(() => {
    assert.equal(++running, 1);
    return new Promise((resolve) => finish.push(() => resolve(0))).then(() => {
      running--;
      done++;
    });
  });
  const all = [work(), work(), work()];
  await Promise.resolve();
  finish.shift()?.();
  while (!finish.length) await Promise.resolve();
  finish.shift()?.();
  await Promise.all(all);
  assert.equal(done, 2);
  assert.equal(running, 0);
});
