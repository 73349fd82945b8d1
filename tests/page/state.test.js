// @ts-check
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Chat, message, titleOf } from '../../src/tickertape/page/chat.js';
import { mergeTools, numberOf, readChunk } from '../../src/tickertape/page/chunks.js';
import { tokens } from '../../src/tickertape/page/highlight.js';
import { LocalStore } from '../../src/tickertape/page/store.js';
import { isOpen, place, Replay, startAgain, take } from '../../src/tickertape/page/taking.js';
import { KEPT, WireLog } from '../../src/tickertape/page/wirelog.js';
import { announcement, describeEnd, describeRunning, duration, size } from '../../src/tickertape/page/words.js';

/** @param {object} delta @param {object} [more] */
const chunk = (delta, more) => JSON.stringify({ choices: [{ index: 0, delta, finish_reason: null }], ...more });

/** @param {Partial<import('../../src/tickertape/page/store.js').Message>} [more] */
const answer = (more) => message({ chat: 'c', parent: 'q', role: 'assistant', stream: 's', state: 'running', ...more });

test('an answer is what its events say, each taken once and in order', () => {
  const one = answer();
  const events = [
    chunk({ role: 'assistant', content: '' }),
    chunk({ reasoning_content: 'hm' }),
    chunk({ content: 'Hel' }),
    chunk({ content: 'lo' }),
  ];
  events.forEach((data, i) => {
    assert.equal(place(one, i + 1), 'next');
    assert.equal(take(one, readChunk(data), `s.${i + 1}`, one.at + 10 * i), null);
    assert.equal(place(one, i + 1), i ? 'had' : 'replay');
  });
  assert.deepEqual([one.text, one.reasoning, one.cursor, one.count, one.thought], ['Hello', 'hm', 's.4', 4, 20]);
  assert.equal(place(one, 7), 'gap');
  startAgain(one);
  assert.deepEqual([one.text, one.cursor, one.count], ['', '', 0]);
});

test('the end says which end it is, also when a reload falls between the state and [DONE]', () => {
  const stopped = answer();
  assert.equal(take(stopped, readChunk(chunk({}, { tickertape: { state: 'cancelled' } })), 's.1', 0), null);
  const reloaded = JSON.parse(JSON.stringify(stopped));
  assert.equal(take(reloaded, readChunk('[DONE]'), 's.2', 0), 'cancelled');
  const whole = answer();
  take(whole, readChunk(JSON.stringify({ choices: [{ delta: {}, finish_reason: 'length' }] })), 's.1', 0);
  assert.equal(take(whole, readChunk('[DONE]'), 's.2', 0), 'completed');
  assert.equal(describeEnd({ ...whole, state: 'completed' }).words, 'The answer reached its length limit.');
  for (const state of ['failed', 'incomplete', 'lost']) {
    const error = { message: 'It broke', code: state };
    assert.equal(take(answer(), readChunk(JSON.stringify({ error, tickertape: { state } })), 's.1', 0), state);
    assert.equal(take(answer(), readChunk(JSON.stringify({ error })), 's.1', 0), state);
  }
  assert.equal(take(answer(), readChunk('{"error":{"message":"x","code":"500"}}'), 's.1', 0), 'failed');
});

test('what cannot be read is neither text nor an end', () => {
  for (const data of [
    '',
    'not json',
    '[]',
    'null',
    '{"choices":null}',
    '{"choices":[]}',
    '{"choices":[{"delta":{"content":7}}]}',
  ]) {
    const read = readChunk(data);
    assert.deepEqual([read.text, read.end, read.state], ['', false, null], data);
  }
});

test('tool calls come in pieces, merged by their index', () => {
  /** @type {import('../../src/tickertape/page/chunks.js').ToolCall[]} */ const calls = [];
  const piece = (/** @type {object} */ call) => mergeTools(calls, readChunk(chunk({ tool_calls: [call] })).tools);
  piece({ index: 0, id: 'a', function: { name: 'weather', arguments: '' } });
  piece({ index: 0, function: { arguments: '{"city":' } });
  piece({ index: 1, function: { name: 'time' } });
  piece({ index: 0, function: { arguments: '"Rome"}' } });
  assert.deepEqual(calls, [
    { name: 'weather', arguments: '{"city":"Rome"}' },
    { name: 'time', arguments: '' },
  ]);
});

test('the number of an event is read from its id, if it is one of this stream', () => {
  assert.equal(numberOf('s.12', 's'), 12);
  assert.ok(Number.isNaN(numberOf('t.12', 's')));
  assert.ok(Number.isNaN(numberOf('s.1x', 's')));
});

test('a replay ends with the first pause', () => {
  const replay = new Replay();
  replay.begin(true, 1000);
  assert.deepEqual(
    [1040, 1041, 1045, 1080, 1081].map((now) => replay.has(now)),
    [true, true, true, false, false],
  );
  replay.begin(false, 2000);
  assert.equal(replay.has(2000), false);
});

test('a conversation is a tree: editing and asking again keep what was there', () => {
  const chat = new Chat();
  const first = chat.ask('one', null);
  Object.assign(first.answer, { text: 'first', state: 'completed' });
  const second = chat.ask('two', chat.info.leaf);
  assert.deepEqual(
    chat.path.map(({ text }) => text),
    ['one', 'first', 'two', ''],
  );
  assert.deepEqual(chat.request(second.answer), {
    messages: [
      { role: 'user', content: 'one' },
      { role: 'assistant', content: 'first' },
      { role: 'user', content: 'two' },
    ],
  });
  const edited = chat.ask('two, better', first.answer.id);
  edited.question.at = second.question.at + 1;
  assert.deepEqual(
    chat.path.map(({ text }) => text),
    ['one', 'first', 'two, better', ''],
  );
  assert.deepEqual(chat.siblings(edited.question), [second.question, edited.question]);
  chat.show(second.question);
  assert.equal(chat.last, second.answer);
  chat.info.model = 'm';
  assert.equal(/** @type {any} */ (chat.request(chat.answer(first.question))).model, 'm');
  assert.equal(chat.siblings(first.answer).length, 2);
});

test('what another tab stored is taken in place, and followed if it goes on from here', () => {
  const chat = new Chat();
  const { answer: known } = chat.ask('one', null);
  chat.merge({ ...known, text: 'more', count: 3 });
  assert.equal(known.text, 'more');
  const question = message({ chat: chat.id, parent: known.id, role: 'user', text: 'from the other tab' });
  chat.merge(question);
  assert.equal(chat.last, question);
  chat.merge(message({ chat: chat.id, parent: known.id, role: 'user', text: 'beside it' }));
  assert.equal(chat.last, question);
});

test('titles are the first words', () => {
  assert.equal(titleOf('  # What is a ticker?\nmore'), 'What is a ticker?');
  assert.equal(titleOf('word '.repeat(40)), `${'word '.repeat(12).trim()}…`);
  assert.equal(titleOf(''), 'Untitled');
});

/** A storage like the browser's, with room for so many values. @param {number} room */
function storage(room = Infinity) {
  const values = new Map();
  return new Proxy(/** @type {any} */ ({}), {
    ownKeys: () => [...values.keys()],
    getOwnPropertyDescriptor: () => ({ enumerable: true, configurable: true }),
    get: (_, name) =>
      ({
        getItem: (/** @type {string} */ key) => values.get(key) ?? null,
        removeItem: (/** @type {string} */ key) => values.delete(key),
        setItem: (/** @type {string} */ key, /** @type {string} */ value) => {
          if (values.size >= room && !values.has(key)) throw new Error('QuotaExceededError');
          values.set(key, value);
        },
      })[String(name)],
  });
}

/** @param {any} area */
function storeOn(area) {
  /** @type {any} */ (globalThis).localStorage = area;
  return new LocalStore();
}

test('an answer is kept only forwards, and text and cursor together', async () => {
  const store = storeOn(storage());
  const chat = new Chat();
  const { answer: one } = chat.ask('q', null);
  store.saveChat(chat.info);
  store.save({ ...one, stream: 's', state: 'running', text: 'abc', count: 3, cursor: 's.3' });
  store.save({ ...one, stream: 's', state: 'running', text: 'a', count: 1, cursor: 's.1' });
  assert.deepEqual(
    (await store.messages(chat.id)).map(({ text, cursor }) => [text, cursor]),
    [['abc', 's.3']],
  );
  store.save({ ...one, stream: 's', state: 'completed', text: 'abcd', count: 5 });
  store.save({ ...one, stream: 's', state: 'running', text: 'abc', count: 4 });
  assert.equal((await store.messages(chat.id))[0].state, 'completed');
});

test('a deleted chat comes back whole, and not by an answer that was still being written', async () => {
  const store = storeOn(storage());
  const chat = new Chat();
  const { question, answer: one } = chat.ask('q', null);
  store.saveChat(chat.info);
  store.save(question);
  store.save(one);
  const bringBack = store.remove(chat.id);
  store.save({ ...one, count: 9 });
  assert.deepEqual([await store.chats(), await store.messages(chat.id)], [[], []]);
  bringBack();
  assert.equal((await store.chats()).length, 1);
  assert.equal((await store.messages(chat.id)).length, 2);
});

test('full, missing or damaged storage is tolerated', async () => {
  for (const area of [storage(1), null]) {
    const store = storeOn(area);
    let told = 0;
    store.onfull = () => told++;
    const chat = new Chat();
    const { question, answer: one } = chat.ask('q', null);
    store.saveChat(chat.info);
    for (const some of [question, one]) store.save(some);
    assert.equal((await store.messages(chat.id)).length, 2);
    assert.equal(told, 1);
  }
  const damaged = storage();
  damaged.setItem('tickertape/1/chat/x', '{not json');
  assert.deepEqual(await storeOn(damaged).chats(), []);
});

test('the wire log counts what came, marks reconnects, and stays small', () => {
  const log = new WireLog();
  log.add({ what: 'request', transport: 'fetch', stream: null, json: { messages: [] } }, 0);
  log.add({ what: 'open', stream: 's' }, 10);
  for (let i = 1; i <= 1500; i++) {
    log.add(
      {
        what: 'event',
        id: `s.${i}`,
        data: chunk({ content: 'x' }),
        bytes: 100,
        retry: null,
        text: 'x',
        replayed: false,
      },
      100 + i,
    );
  }
  log.add({ what: 'cut' }, 2000);
  log.add({ what: 'open', stream: 's' }, 2500);
  log.add({ what: 'comment', text: ' ping' }, 2600);
  log.add({ what: 'end', state: 'completed' }, 2700);
  assert.deepEqual(
    [log.events, log.splices, log.firstText, Math.round(log.rate), log.records.length],
    [1500, 1, 101, 1000, KEPT],
  );
  assert.deepEqual(
    log.records.slice(-3).map(({ kind }) => kind),
    ['splice', 'comment', 'end'],
  );
  assert.equal(
    log.curl('http://h'),
    "curl -N http://h/api/openai/stream -H 'Content-Type: application/json' -d '{\"messages\":[]}'",
  );
});

test('a quote in a question does not break out of the command', () => {
  const log = new WireLog();
  log.add({ what: 'request', transport: 'fetch', stream: null, json: { a: "it's $(here)" } }, 0);
  assert.ok(log.curl('').endsWith(`-d '{"a":"it'\\''s $(here)"}'`));
});

test('every state has its words', () => {
  const now = { now: 5000, nextTry: 9000, online: true };
  const one = answer({ at: 1000 });
  assert.equal(describeRunning(one, 'thinking', now).words, 'Thinking, 4 s');
  assert.equal(
    describeRunning(one, 'waiting', now).words,
    'The connection dropped. Picking up where it left off. Next try in 4 s.',
  );
  assert.deepEqual(describeRunning(one, 'waiting', now).actions, ['now']);
  assert.match(
    describeRunning(one, 'waiting', { ...now, online: false }).words,
    /^You are offline\. The answer goes on/,
  );
  assert.equal(
    describeEnd({ ...one, state: 'lost', text: 'x' }).words,
    'The server restarted; this is what was written.',
  );
  assert.equal(describeEnd({ ...one, state: 'incomplete' }).words, 'The model stopped before it was done.');
  assert.equal(describeEnd({ ...one, state: 'failed', error: 'No credit' }).words, 'The answer failed. No credit.');
  assert.equal(describeEnd({ ...one, state: 'completed', finish: 'stop', text: 'x' }).words, '');
  assert.equal(announcement({ ...one, state: 'completed', text: 'x' }, 'over'), 'The answer is complete.');
  assert.deepEqual(
    [isOpen(one), isOpen({ ...one, state: 'lost' }), isOpen({ ...one, state: 'unsent' })],
    [true, false, false],
  );
  assert.deepEqual(
    [duration(94), duration(4210), duration(61_000), size(900), size(40_100)],
    ['94 ms', '4.2 s', '1 min 1 s', '900 B', '40.1 kB'],
  );
});

test('colour changes no character of the code, and unknown languages stay plain', () => {
  const code = "def f(x):  # \"not a string\"\n    return \"a # b\" + '''c\nd''' * 0x1F\n";
  const pieces = tokens(code, 'python') ?? [];
  assert.equal(pieces.map(({ text }) => text).join(''), code);
  assert.deepEqual(
    pieces.filter(({ kind }) => kind).map(({ kind, text }) => `${kind} ${text.trim()}`),
    ['keyword def', 'comment # "not a string"', 'keyword return', 'string "a # b"', "string '''c\nd'''", 'number 0x1F'],
  );
  assert.equal(tokens('x', 'klingon'), null);
  const began = process.cpuUsage();
  tokens('"'.repeat(100_000) + '/*'.repeat(50_000), 'js');
  assert.ok(process.cpuUsage(began).user < 1_000_000);
});
