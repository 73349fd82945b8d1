// @ts-check
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Chat, isOpen, message } from '../../src/tickertape/page/chat.js';
import { ChunkReader, mergeTools, numberOf, readChunk } from '../../src/tickertape/page/chunks.js';
import { tokens } from '../../src/tickertape/page/code-block.js';
import { LocalStore } from '../../src/tickertape/page/local-store.js';
import { classify, reduce, reduceAll, ReplayDetector, restart } from '../../src/tickertape/page/message-reducer.js';
import { announcement, describeEnd, describeRunning, duration, size } from '../../src/tickertape/page/status-text.js';
import { KEPT, rawOf, WireLog } from '../../src/tickertape/page/wire-log.js';

/** @param {object} delta @param {object} [more] */
const chunk = (delta, more) => JSON.stringify({ choices: [{ index: 0, delta, finish_reason: null }], ...more });

/** @param {Partial<import('../../src/tickertape/page/chat.js').Message>} [more] */
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
    assert.equal(classify(one, `s.${i + 1}`), 'next');
    assert.equal(reduce(one, readChunk(data), `s.${i + 1}`, one.at + 10 * i), null);
    assert.equal(classify(one, `s.${i + 1}`), i ? 'known' : 'replay');
  });
  assert.deepEqual([one.text, one.reasoning, one.cursor, one.count, one.thought], ['Hello', 'hm', 's.4', 4, 20]);
  assert.equal(classify(one, 's.7'), 'gap');
  assert.equal(classify(one, 'x'), 'next', 'a server that does not count');
  restart(one);
  assert.deepEqual([one.text, one.cursor, one.count], ['', '', 0]);
});

test('the events of one read are taken in order, up to the end or a gap', () => {
  const read = (/** @type {ReturnType<typeof answer>} */ one, /** @type {[number, string][]} */ ...given) => {
    const events = given.map(([number, data]) => ({ type: 'message', id: `s.${number}`, data, retry: null }));
    return reduceAll(one, events, events.map(({ data }) => readChunk(data)), 0);
  };
  const one = answer();
  const nothing = { text: '', more: false, restarted: false, gap: false, state: null };
  assert.deepEqual(read(one, [1, chunk({ content: 'a' })], [2, chunk({ reasoning_content: 'r', content: 'b' })]), { ...nothing, text: 'ab', more: true });
  assert.deepEqual(read(one, [2, chunk({ content: 'b' })], [3, chunk({ content: 'c' })]), { ...nothing, text: 'c' }, 'one of them was known');
  assert.equal(one.text, 'abc');
  assert.deepEqual(read(one, [1, chunk({ content: 'A' })], [2, chunk({ content: 'B' })]), { ...nothing, text: 'AB', restarted: true });
  assert.equal(one.text, 'AB');
  assert.deepEqual(read(one, [3, chunk({ content: 'C' })], [5, chunk({ content: 'E' })], [1, chunk({ content: 'x' })]), { ...nothing, restarted: true, gap: true });
  assert.deepEqual([one.text, one.count], ['', 0], 'it is asked for from its start');
  assert.deepEqual(read(one, [1, chunk({ content: 'a' })], [2, '[DONE]'], [3, chunk({ content: 'z' })]), { ...nothing, text: 'a', state: 'completed' });
  assert.equal(one.text, 'a');
});

test('the end says which end it is, also when a reload falls between the state and [DONE]', () => {
  const stopped = answer();
  assert.equal(reduce(stopped, readChunk(chunk({}, { tickertape: { state: 'cancelled' } })), 's.1', 0), null);
  const reloaded = JSON.parse(JSON.stringify(stopped));
  assert.equal(reduce(reloaded, readChunk('[DONE]'), 's.2', 0), 'cancelled');
  const whole = answer();
  reduce(whole, readChunk(JSON.stringify({ choices: [{ delta: {}, finish_reason: 'length' }] })), 's.1', 0);
  assert.equal(reduce(whole, readChunk('[DONE]'), 's.2', 0), 'completed');
  assert.equal(describeEnd({ ...whole, state: 'completed' }).label, 'The answer reached its length limit.');
  for (const state of ['failed', 'incomplete', 'lost']) {
    const error = { message: 'It broke', code: state };
    assert.equal(reduce(answer(), readChunk(JSON.stringify({ error, tickertape: { state } })), 's.1', 0), state);
    assert.equal(reduce(answer(), readChunk(JSON.stringify({ error })), 's.1', 0), state);
  }
  assert.equal(reduce(answer(), readChunk('{"error":{"message":"x","code":"500"}}'), 's.1', 0), 'failed');
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

test('events that differ in their text alone are read as each alone would be', () => {
  const around = (/** @type {string} */ text, more = '') =>
    `{"id":"c","model":"m","choices":[{"index":0,"delta":{"content":${text}${more}},"finish_reason":null}]}`;
  const events = [
    ['"a"', '"b"', '"\\u0041\\n\\"}"', '"🦊"', '""', '"a"'].map((text) => around(text)),
    ['"a"', '"", "refusal":"no"', '"a","content":"b"', 'null', '7', '["x"]', '"open'].map((text) => around(text)),
    ['"a"', '""', '"b"'].map((text) => around(text, ',"refusal":"no"')),
    ['"a"', '"b"', '"c"'].map((text) => `{"choices":[{"delta":{"content":${text},"content":"a"}}]}`),
    ['"a"', '"b"', '"c"'].map((text) => `{"x":${text},"choices":[{"delta":{"content":"a"}}]}`),
    ['"a"', '"b"'].map((text) => `{"choices":[{"delta":{"reasoning":${text},"content":${text}}}],"usage":{"n":1}}`),
    ...['[DONE]', '{"error":{"message":"a"}}', '"a"', 'a', '{}'].map((last) => [around('"a"'), around('"b"'), last, around('"c"')]),
    Array.from({ length: 20 }, (_, n) => `{"id":${n},"choices":[{"delta":{"content":"${n}"}}]}`),
  ];
  for (const some of events) {
    const reader = new ChunkReader();
    for (const data of some) assert.deepEqual(reader.read(data), readChunk(data), data);
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
  const replay = new ReplayDetector();
  replay.begin(true, 1000);
  assert.deepEqual(
    [1040, 1041, 1045, 1080, 1081].map((now) => replay.includes(now)),
    [true, true, true, false, false],
  );
  replay.begin(false, 2000);
  assert.equal(replay.includes(2000), false);
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

test('text and cursor are kept together, and of a chat only what is there still', () => {
  const store = storeOn(storage());
  const chat = new Chat();
  const { question, answer: one } = chat.ask('q', null);
  store.saveChat(chat.info);
  store.save(question);
  store.save({ ...one, stream: 's', state: 'running', text: 'abc', count: 3, cursor: 's.3' });
  assert.deepEqual(
    store.messages(chat.id).map(({ text, cursor }) => [text, cursor]),
    [
      ['q', ''],
      ['abc', 's.3'],
    ],
  );
  store.saveAll(chat.id, [question]);
  assert.deepEqual(store.messages(chat.id), [question]);
});

test('when the storage is full the copies of the oldest chats make room', () => {
  const store = storeOn(storage(7));
  let told = 0;
  store.onfull = () => told++;
  const chats = [1, 2, 3].map((at) => {
    const chat = new Chat();
    const { question, answer: one } = chat.ask(`q${at}`, null);
    Object.assign(chat.info, { at, local: false });
    store.saveChat(chat.info);
    for (const some of [question, one]) store.save(some);
    return chat;
  });
  assert.deepEqual(
    chats.map(({ id }) => store.messages(id).length),
    [0, 2, 2],
  );
  assert.deepEqual([store.chats().length, told], [3, 0]);
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
  damaged.setItem('tickertape/2/chat/x', '{not json');
  assert.deepEqual(await storeOn(damaged).chats(), []);
});

test('the wire log counts what came, marks reconnects, and stays small', () => {
  const log = new WireLog();
  log.add({ what: 'request', transport: 'fetch', stream: null, json: { messages: [] } }, 0);
  log.add({ what: 'open', stream: 's' }, 10);
  const event = (/** @type {number} */ n) => ({ type: 'message', id: `s.${n}`, data: chunk({ content: 'x' }), retry: null });
  for (let i = 1; i <= 1500; i += 3) {
    const events = [event(i), event(i + 1), event(i + 2)];
    const chunks = events.map(({ data }) => readChunk(data));
    log.add({ what: 'events', events, chunks, bytes: 300, replayed: false }, 100 + i);
  }
  log.add({ what: 'cut' }, 2000);
  log.add({ what: 'open', stream: 's' }, 2500);
  log.add({ what: 'comment', text: ' ping' }, 2600);
  log.add({ what: 'end', state: 'completed' }, 2700);
  assert.deepEqual(
    [log.events, log.bytes, log.reconnects, log.firstText, Math.round(log.rate), log.records.length],
    [1500, 150_000, 1, 101, 1001, KEPT],
  );
  assert.deepEqual(
    log.records.slice(-3).map(({ kind }) => kind),
    ['reconnect', 'comment', 'end'],
  );
  assert.equal(
    log.curl('http://h'),
    "curl -N http://h/backend-api/conversation -H 'Content-Type: application/json' -d '{\"messages\":[]}'",
  );
});

test('an event is shown as it was written', () => {
  const event = { type: 'message', id: 's.1', data: 'a\nb', retry: 10 };
  assert.equal(rawOf(event), 'retry: 10\nid: s.1\ndata: a\ndata: b');
});

test('a quote in a question does not break out of the command', () => {
  const log = new WireLog();
  log.add({ what: 'request', transport: 'fetch', stream: null, json: { a: "it's $(here)" } }, 0);
  assert.ok(log.curl('').endsWith(`-d '{"a":"it'\\''s $(here)"}'`));
});

test('every state has its words', () => {
  const now = { since: 1000, now: 5000, nextTry: 9000, online: true };
  const one = answer({ at: 1000 });
  assert.equal(describeRunning(one, 'thinking', now).label, 'Thinking, 4 s');
  assert.equal(
    describeRunning(one, 'waiting', now).label,
    'The connection dropped. Picking up where it left off. Next try in 4 s.',
  );
  assert.deepEqual(describeRunning(one, 'waiting', now).actions, ['now']);
  assert.match(
    describeRunning(one, 'waiting', { ...now, online: false }).label,
    /^You are offline\. The answer goes on/,
  );
  assert.equal(
    describeEnd({ ...one, state: 'lost', text: 'x' }).label,
    'The server restarted; this is what was written.',
  );
  assert.equal(describeEnd({ ...one, state: 'incomplete' }).label, 'The model stopped before it was done.');
  assert.equal(describeEnd({ ...one, state: 'failed', error: 'No credit' }).label, 'The answer failed. No credit.');
  assert.equal(describeEnd({ ...one, state: 'completed', finish: 'stop', text: 'x' }).label, '');
  /** @param {Partial<typeof one>} end */
  const actions = (end) => describeEnd({ ...one, ...end }).actions.join(' ');
  assert.equal(actions({ state: 'cancelled', text: 'x' }), 'continue');
  assert.equal(actions({ state: 'cancelled' }), 'again');
  assert.equal(actions({ state: 'lost', text: 'x' }), 'continue again');
  assert.equal(actions({ state: 'completed', finish: 'length', text: 'x' }), 'continue');
  assert.equal(actions({ state: 'completed', finish: 'content_filter', text: 'x' }), 'again');
  assert.equal(actions({ state: 'completed', finish: 'stop' }), 'again');
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

test('what stands beside the text is kept: images, sources, sound in words', () => {
  const one = answer();
  const deltas = [
    { images: [{ index: 0, type: 'image_url', image_url: { url: 'data:image/png;base64,AA' } }] },
    { annotations: [{ index: 0, type: 'url_citation', url_citation: { url: 'https://e.org', title: 'E' } }] },
    { audio: { transcript: 'Hel', data: 'AA' } },
    { audio: { transcript: 'lo' } },
    { refusal: 'No.' },
  ];
  deltas.forEach((delta, i) => reduce(one, readChunk(JSON.stringify({ choices: [{ delta }] })), `s.${i + 1}`, 0));
  assert.equal(one.extras.images.length, 1);
  assert.equal(one.extras.annotations[0].url_citation.url, 'https://e.org');
  assert.deepEqual(one.extras.audio, { transcript: 'Hello' });
  assert.equal(one.text, 'No.');
});
