// @ts-check
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { message } from '../../src/tickertape/page/message.js';
import { oneAtATime } from '../../src/tickertape/page/once.js';
import { Own } from '../../src/tickertape/page/own.js';

test('what was asked and read here says nothing new on the feed, what happens to it later does', () => {
  const own = new Own();
  const answer = message({ chat: 'c', parent: 'q', role: 'assistant', stream: 's', state: 'completed' });
  const change = (/** @type {'message' | 'ended' | 'updated'} */ what) => ({ what, message_id: answer.id });
  assert.equal(own.knows(change('message'), answer), false);
  own.asked(answer.id);
  assert.equal(own.knows(change('updated'), answer), false);
  assert.equal(own.knows(change('message'), answer), true);
  assert.equal(own.knows(change('ended'), answer), true);
  assert.equal(own.knows(change('message'), answer), false, 'it is gone on with elsewhere');
  own.asked(answer.id);
  assert.equal(own.knows(change('ended'), { ...answer, state: 'running' }), false, 'its end was not read here');
});

test('what is asked for while it is done is done once more', async () => {
  let [running, done] = [0, 0];
  /** @type {(() => void)[]} */ const finish = [];
  const work = oneAtATime(() => {
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
