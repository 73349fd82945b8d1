// @ts-check
/**
 * `ResumableEventSource`: EventSource that can also POST, send headers and a body, say why it failed, and come back
 * after a proxy's 502. A thin shell around sse.js (bytes to events) and reconnect.js (when and where to connect).
 *
 * `self.EventSource = ResumableEventSource` is a drop-in. It differs on purpose, unless `strict: true` is given:
 * 408, 425, 429, 500, 502, 503 and 504 in answer to a reconnect are waited out (the standard closes for good),
 * failures back off, `Retry-After` is honoured, coming back online or to the tab ends a wait. Across origins a server
 * must allow the Last-Event-ID header (CORS), which fetch asks for and a browser's EventSource does not.
 *
 * Besides `open`, `message`, `error` and the stream's own types it dispatches CustomEvents that no stream's type is
 * likely to meet: `tickertape:request` before each request, `tickertape:retry` before each wait, `tickertape:comment`.
 */
import { Loss, policyOf } from './policy.js';
import { Reconnector } from './reconnect.js';
import { Decoder, EventTooLarge, MAX_EVENT_SIZE } from './sse.js';
import { OpenEvent, StreamErrorEvent, StreamMessageEvent } from './stream-events.js';
import { errorBody, headerBytes, Pause, reasonOf, resolve, Watchdog } from './stream-parts.js';
import { CLOSED, CONNECTING, OPEN, SourceTarget } from './stream-target.js';

/** @import { Options, Policy, Stop, Wait } from './policy.js' */
/** @import { StreamEvent } from './sse.js' */

const SILENCE = new Error('silence');

/**
 * A stream of server-sent events. `url` is relative to the document; see `Options` in policy.js for what can be given.
 * Its listeners get `OpenEvent`, `StreamMessageEvent` and `StreamErrorEvent` of stream-events.js.
 */
export class ResumableEventSource extends SourceTarget {
  /** @type {number} */ #readyState = CONNECTING;
  #bytesReceived = 0;
  #controller = new AbortController();
  #watchdog = new Watchdog(0, () => {});
  #pause = new Pause();
  #mayWake = false;
  #url;
  #options;
  #lastEventId;
  #machine;

  /** @param {string | URL} url @param {Options | null} [options] */
  constructor(url, options) {
    super();
    if (!arguments.length) throw new TypeError('ResumableEventSource needs a URL.');
    const given = options ?? {};
    const body = given.json === undefined ? given.body : JSON.stringify(given.json);
    const method = (given.method ?? 'GET').toUpperCase();
    if (body !== undefined && (method === 'GET' || method === 'HEAD')) {
      throw new TypeError(`A ${method} request has no body; give the method that it is for, as in method: 'POST'.`);
    }
    if (typeof given.headers !== 'function') new Headers(given.headers); // throws here rather than with each request
    this.#url = resolve(url);
    this.#options = { ...given, body };
    this.#lastEventId = given.lastEventId ?? '';
    this.#machine = new Reconnector(this.#url, method, policyOf(given), given.random ?? Math.random);
    this.#listen('addEventListener');
    if (given.signal?.aborted) this.close();
    queueMicrotask(() => this.#live());
  }

  get url() { return this.#url; }
  get readyState() { return this.#readyState; }
  get withCredentials() { return Boolean(this.#options.withCredentials); }
  /** The cursor: what the next request names. */
  get lastEventId() { return this.#lastEventId; }
  /** The URL that the answer to a POST named, which reconnects read; null before and without one. */
  get location() { return this.#machine.location; }
  /** Bytes of all bodies so far, comments and what was cut off included. */
  get bytesReceived() { return this.#bytesReceived; }

  /** Close the socket now; nothing is dispatched any more. */
  close() {
    this.#readyState = CLOSED;
    this.#listen('removeEventListener');
    this.#controller.abort();
    this.#watchdog.stop();
    this.#pause.end();
  }

  async #live() {
    while (this.#readyState !== CLOSED) {
      const { action, body } = await this.#connection();
      if (this.readyState === CLOSED) return;
      if (action.do === 'stop') this.close();
      else this.#readyState = CONNECTING;
      this.dispatchEvent(new StreamErrorEvent(action, body));
      if (action.do === 'stop' || this.readyState === CLOSED) return;
      this.#announce('retry', action);
      // Who was told when to come back does not come earlier.
      this.#mayWake = !action.least;
      if (this.readyState !== CLOSED) await this.#pause.wait(action.delay);
    }
  }

  /** @returns {Promise<{action: Wait | Stop, body?: string}>} */
  async #connection() {
    const controller = (this.#controller = new AbortController());
    this.#watchdog = new Watchdog(this.#machine.policy.readTimeout, () => controller.abort(SILENCE));
    try {
      const response = await this.#request(controller.signal);
      const url = response.url || this.#machine.url;
      const action = this.#machine.answered(response.status, response.headers, url, Date.now());
      if (action.do === 'stop') return { action, body: await errorBody(response) };
      if (action.do === 'wait') return { action };
      await this.#read(response, url, controller.signal);
      return { action: this.#machine.lost(Loss.ENDED, '', Date.now()) };
    } catch (error) {
      if (error instanceof EventTooLarge) return { action: this.#machine.refused('too-large', error.message) };
      if (controller.signal.reason === SILENCE) return { action: this.#machine.lost(Loss.SILENT, '', Date.now()) };
      return { action: this.#machine.lost(Loss.BROKEN, reasonOf(error), Date.now()) };
    } finally {
      this.#watchdog.stop();
      controller.abort(); // frees the connection of an answer that was not read to its end
    }
  }

  /** @param {AbortSignal} signal @returns {Promise<Response>} */
  async #request(signal) {
    const { method, url, withBody } = this.#machine;
    const { fetch = globalThis.fetch, body } = this.#options;
    const headers = await this.#headers();
    signal.throwIfAborted();
    this.#announce('request', { method, url, lastEventId: this.#lastEventId });
    const credentials = this.withCredentials ? 'include' : 'same-origin';
    return fetch(url, { method, headers, body: withBody ? body : undefined, credentials, cache: 'no-store', signal });
  }

  async #headers() {
    const { headers: given, json } = this.#options;
    const mine = this.#machine.sameOrigin ? await (typeof given === 'function' ? given() : given) : undefined;
    const headers = new Headers(mine);
    if (!headers.has('Accept')) headers.set('Accept', 'text/event-stream');
    if (!this.#machine.withBody) ['Content-Type', 'Idempotency-Key'].forEach((name) => headers.delete(name));
    else if (json !== undefined && !headers.has('Content-Type')) headers.set('Content-Type', 'application/json');
    if (this.#lastEventId) headers.set('Last-Event-ID', headerBytes(this.#lastEventId));
    return headers;
  }

  /** @param {Response} response @param {string} url @param {AbortSignal} signal */
  async #read(response, url, signal) {
    const onComment = (/** @type {string} */ text) => this.#announce('comment', { text });
    const { maxEventSize = MAX_EVENT_SIZE } = this.#options;
    const decoder = new Decoder({ maxEventSize, onComment, lastEventId: this.#lastEventId });
    const { origin } = new URL(url);
    this.#readyState = OPEN;
    this.dispatchEvent(new OpenEvent(response, url));
    const reader = response.body?.getReader();
    while (reader) {
      const { done, value } = await reader.read();
      signal.throwIfAborted();
      if (done) return decoder.close();
      this.#watchdog.feed();
      this.#bytesReceived += value.length;
      const events = decoder.feed(value);
      // "Set the event source's reconnection time": at once, not at dispatch.
      if (decoder.retry !== null) this.#machine.reconnectionTime = decoder.retry;
      if (events.length || decoder.lastEventId !== this.#lastEventId) this.#machine.progressed();
      if (events.length) this.deliver(events, origin);
      signal.throwIfAborted();
      this.#lastEventId = decoder.lastEventId;
    }
  }

  /** Hands out the events of one read, in order. Who needs no DOM events may override this: to make and dispatch them takes
   * most of the time that they cost. @param {StreamEvent[]} events @param {string} origin */
  deliver(events, origin) {
    for (const event of events) {
      this.#lastEventId = event.id;
      this.dispatchEvent(new StreamMessageEvent(event, origin));
      if (this.#readyState === CLOSED) return;
    }
  }

  /** @param {string} what @param {object} detail */
  #announce(what, detail) {
    if (this.#readyState !== CLOSED) this.dispatchEvent(new CustomEvent(`tickertape:${what}`, { detail }));
  }

  #abort = () => this.close();

  #wake = () => {
    if (globalThis.document?.visibilityState === 'hidden') return;
    this.#watchdog.check();
    if (this.#mayWake) this.#pause.end();
  };

  /** @param {'addEventListener' | 'removeEventListener'} how */
  #listen(how) {
    this.#options.signal?.[how]('abort', this.#abort);
    if (this.#options.strict) return;
    globalThis[how]?.('online', this.#wake);
    globalThis.document?.[how]('visibilitychange', this.#wake);
  }
}
