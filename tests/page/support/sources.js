// @ts-check
/** Sources to test with: on a fetch that is played by hand, and waits for what they dispatch. */
import { ResumableEventSource } from '../../../src/tickertape/page/event-source.js';

/** Wait for one event. @param {EventTarget} source @param {string} type @returns {Promise<any>} */
export const next = (source, type) => new Promise((resolve) => source.addEventListener(type, resolve, { once: true }));

/** Let everything that is ready run. */
export const settle = () => new Promise((resolve) => setImmediate(resolve));

/** A fetch whose answers the test gives: each call waits until `answer` or `refuse` is called. */
export function playedFetch() {
  /** @type {{url: string, init: any, resolve: (response: any) => void, reject: (error: unknown) => void}[]} */ const calls = [];
  /** @type {any} */ let body;
  /** @type {any} */
  const fetch = (/** @type {string} */ url, /** @type {any} */ init) =>
    new Promise((resolve, reject) => {
      calls.push({ url, init, resolve, reject });
      init.signal.addEventListener('abort', () => {
        reject(init.signal.reason);
        body?.error(init.signal.reason);
        body = null;
      });
    });
  const last = () => calls[calls.length - 1];
  return {
    fetch,
    calls,
    /** Answer the latest call with a head; the body follows by `send`. */
    answer(status = 200, headers = {}, /** @type {string | null} */ text = null) {
      const stream = new ReadableStream({ start: (controller) => void (body = controller) });
      const all = { 'Content-Type': 'text/event-stream', ...headers };
      if (text !== null) this.send(text), this.end();
      last().resolve(new Response(status === 204 ? null : stream, { status, headers: all }));
    },
    /** @param {string} text */
    send: (text) => body.enqueue(new TextEncoder().encode(text)),
    end: () => {
      body?.close();
      body = null;
    },
    break: () => {
      body.error(new TypeError('terminated'));
      body = null;
    },
    refuse: () => last().reject(new TypeError('fetch failed', { cause: new Error('connect ECONNREFUSED') })),
  };
}

/** A source on a played fetch, and a record of what it dispatches. */
export function played(options = {}, url = 'http://example.test/a') {
  const play = playedFetch();
  const source = new ResumableEventSource(url, { fetch: play.fetch, random: () => 0, ...options });
  /** @type {string[]} */ const seen = [];
  source.onopen = (event) => seen.push(`open ${event.status}`);
  source.onmessage = (event) => seen.push(event.data);
  source.onerror = (event) => seen.push(`error ${event.reason} ${source.readyState} ${event.delay}`);
  return { ...play, play, source, seen };
}

/** Run with a window's and a document's events. @param {(globals: EventTarget, document: any) => Promise<void>} run */
export async function withGlobals(run) {
  const globals = new EventTarget();
  const document = Object.assign(new EventTarget(), { visibilityState: 'visible', baseURI: 'http://example.test/' });
  const names = /** @type {const} */ (['addEventListener', 'removeEventListener']);
  for (const name of names) Object.assign(globalThis, { [name]: (/** @type {any[]} */ ...args) => /** @type {any} */ (globals)[name](...args) });
  Object.assign(globalThis, { document });
  try {
    await run(globals, document);
  } finally {
    for (const name of [...names, 'document']) delete /** @type {any} */ (globalThis)[name];
  }
}
