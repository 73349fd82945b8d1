// @ts-check
/** What the browser runs of the conformance tests; each function returns what is wrong, by name. */
import { ResumableEventSource } from '../../../src/tickertape/page/event-source.js';
import { decoded } from './decode.js';
import { DIFFERS, judged } from './follow.js';

const json = async (/** @type {string} */ path) => (await fetch(path)).json();
const bytesOf = (/** @type {string} */ base64) => Uint8Array.from(atob(base64), (character) => character.charCodeAt(0));
const same = (/** @type {unknown} */ a, /** @type {unknown} */ b) => JSON.stringify(a) === JSON.stringify(b);
const plain = (/** @type {any} */ { type, data, id, lastEventId }) => ({ event: type, data, id: id ?? lastEventId });

/** @param {Uint8Array} bytes @param {number} size */
function pieces(bytes, size) {
  const parts = [];
  for (let at = 0; at < bytes.length; at += size) parts.push(bytes.subarray(at, at + size));
  return parts;
}

/** sse.js on every case: as given, whole, in pieces of 1, 2, 3 and 7 bytes. */
export async function decoder() {
  /** @type {string[]} */ const wrong = [];
  const cases = (await json('/cases')).filter((/** @type {any} */ { opens }) => opens);
  for (const { name, chunks, expected, retry, lastEventId, comments } of cases) {
    const given = chunks.map(bytesOf);
    const whole = new Uint8Array(given.flatMap((/** @type {Uint8Array} */ bytes) => [...bytes]));
    for (const cut of [given, [whole], ...[1, 2, 3, 7].map((size) => pieces(whole, size))]) {
      const got = decoded(cut);
      const right = same(got.events.map(plain), expected) && got.retry === retry && got.lastEventId === lastEventId;
      if (!right || (comments && !same(got.comments, comments))) wrong.push(name);
    }
  }
  return { count: cases.length, wrong: [...new Set(wrong)] };
}

/** A class on every case as a response. @param {'native' | 'ours'} which */
export async function bodies(which) {
  /** @type {string[]} */ const wrong = [];
  const cases = await json('/cases');
  let next = 0;
  const worker = async () => {
    while (next < cases.length) {
      const index = next++;
      const { name, expected, opens } = cases[index];
      const got = await heard(source(which, `/case/${index}`), new Set(expected.map((/** @type {any} */ it) => it.event)));
      if (!same(got.events, opens ? expected : []) || got.opened !== opens) wrong.push(name);
    }
  };
  await Promise.all([1, 2, 3, 4, 5].map(worker));
  return { count: cases.length, wrong };
}

/** @param {any} source @param {Set<string>} types @returns {Promise<any>} what came before the first error */
function heard(source, types) {
  /** @type {any[]} */ const events = [];
  for (const type of new Set([...types, 'message'])) source.addEventListener(type, (/** @type {any} */ event) => events.push(plain(event)));
  return new Promise((resolve) => {
    source.onerror = () => {
      const opened = source.readyState === 0;
      source.close();
      resolve({ events, opened });
    };
  });
}

/** A POST whose answer is cut after N bytes, for every N of its body. */
export async function cuts() {
  /** @type {[number, string[]][]} */ const wrong = [];
  const { expected, head, whole } = await json('/recorded');
  let next = head;
  const worker = async () => {
    while (next < whole) {
      const limit = next++;
      const source = new ResumableEventSource(`/cut/${String(limit).padStart(3, '0')}`, { method: 'POST', json: {}, reconnectionTime: 0, maxDelay: 0 });
      const got = await said(source);
      if (!same(got, expected)) wrong.push([limit, got]);
    }
  };
  await Promise.all([1, 2, 3, 4, 5].map(worker));
  return { count: whole - head, wrong };
}

/** @param {ResumableEventSource} source @returns {Promise<any[]>} its data up to [DONE], or to the final error's message */
function said(source) {
  /** @type {any[]} */ const got = [];
  return new Promise((resolve) => {
    source.onmessage = ({ data }) => {
      got.push(data);
      if (data === '[DONE]') resolve(got), source.close();
    };
    source.onerror = ({ message }) => source.readyState === 2 && resolve([...got, message]);
  });
}

/** A class through every scenario, all at once but those that measure time. @param {'native' | 'ours' | 'lenient'} which */
export async function behaviour(which) {
  const scenarios = await json('/scenarios');
  const left = which === 'lenient' ? [DIFFERS] : [];
  /** @type {Record<string, string[]>} */ const wrong = {};
  const run = async (/** @type {any} */ scenario, /** @type {number} */ index) => {
    const log = (/** @type {string} */ path) => json(`/log?${path}`);
    const found = await judged(scenario, `/${index}?${which}`, (path) => source(which, path), log);
    if (found.length) wrong[scenario.name] = found;
  };
  for (const timed of [false, true]) {
    await Promise.all(scenarios.map((/** @type {any} */ it, /** @type {number} */ index) =>
      Boolean(it.delay_ms) === timed && !left.includes(it.name) && run(it, index)));
  }
  return { count: scenarios.length - left.length, wrong };
}

/** @param {'native' | 'ours' | 'lenient'} which @param {string} path */
function source(which, path) {
  if (which === 'native') return new EventSource(path);
  return new ResumableEventSource(path, { strict: which === 'ours' });
}
