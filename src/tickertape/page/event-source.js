// @ts-check
/**
 * `ResumableEventSource`: EventSource that can also POST, send headers and a body, say why it failed, and come back
 * after a proxy's 502. It performs what two pure modules decide: sse.js (bytes to events) and reconnect.js (when and
 * where to connect).
 *
 * `self.EventSource = ResumableEventSource` is a drop-in. It differs on purpose, unless `strict: true` is given:
 * 408, 425, 429, 500, 502, 503 and 504 in answer to a reconnect are waited out (the standard closes for good),
 * failures back off, `Retry-After` is honoured, coming back online or to the tab ends a wait. Across origins a server
 * must allow the Last-Event-ID header (CORS), which fetch asks for and a browser's EventSource does not.
 *
 * Besides `open`, `message`, `error` and the stream's own types it dispatches CustomEvents that no stream's type is
 * likely to meet: `tickertape:request` before each request, `tickertape:retry` before each wait, `tickertape:comment`.
 */
import { Loss, policyOf, Reconnector } from './reconnect.js';
import { Decoder, eventSize, EventTooLarge, MAX_EVENT_SIZE } from './sse.js';

/** @import { Policy, Stop, Wait } from './reconnect.js' */
/** @import { StreamEvent } from './sse.js' */

/**
 * @typedef {object} OwnOptions
 * @property {boolean} [withCredentials] send cookies to other origins too
 * @property {string} [method] GET by default; a POST is sent once (see `repost`)
 * @property {HeadersInit | (() => HeadersInit | Promise<HeadersInit>)} [headers] a function is called for each request
 * @property {BodyInit} [body]
 * @property {unknown} [json] the body as JSON, instead of `body`
 * @property {string} [lastEventId] where to go on: the first request names it too
 * @property {boolean} [strict] behave exactly as the browser's EventSource
 * @property {number} [maxEventSize] bytes, 16 MiB by default
 * @property {AbortSignal} [signal] closes the source
 * @property {typeof globalThis.fetch} [fetch] another fetch
 * @property {() => number} [random] another Math.random
 */
/** @typedef {OwnOptions & Partial<Policy>} Options what ResumableEventSource takes */

const CONNECTING = 0;
const OPEN = 1;
const CLOSED = 2;
const LONGEST_TIMEOUT = 2 ** 31 - 1; // milliseconds; setTimeout fires at once for more
const BODY_LIMIT = 65_536; // bytes of a refusal's body that are read to tell its reason
const BODY_TIMEOUT = 5_000; // and milliseconds
const SILENCE = new Error('silence');

/** @typedef {((event: any) => unknown) | null} Handler */

/** @type {WeakMap<EventTarget, Map<string, any>>} */
const handlers = new WeakMap();

/** Return what was assigned to an `on…` attribute. @param {EventTarget} target @param {string} type */
function handler(target, type) {
  return handlers.get(target)?.get(type) ?? null;
}

/**
 * Assign an `on…` attribute: one listener, in the place where the first was set; anything but a function unsets it.
 * @param {EventTarget} target @param {string} type @param {unknown} value
 */
function setHandler(target, type, value) {
  const own = handlers.get(target) ?? new Map();
  handlers.set(target, own);
  if (!own.has(type)) target.addEventListener(type, (event) => own.get(type)?.call(target, event));
  own.set(type, typeof value === 'function' ? value : null);
}

/**
 * What the standard asks of every EventSource (WHATWG HTML 9.2.1), its constants and its `on…` attributes, and the attributes
 * of the events that only this one has.
 */
class SourceTarget extends EventTarget {
  static get CONNECTING() { return /** @type {0} */ (CONNECTING); }
  static get OPEN() { return /** @type {1} */ (OPEN); }
  static get CLOSED() { return /** @type {2} */ (CLOSED); }
  get CONNECTING() { return /** @type {0} */ (CONNECTING); }
  get OPEN() { return /** @type {1} */ (OPEN); }
  get CLOSED() { return /** @type {2} */ (CLOSED); }

  /** @type {Handler} */ get onopen() { return handler(this, 'open'); }
  set onopen(value) { setHandler(this, 'open', value); }
  /** @type {Handler} */ get onmessage() { return handler(this, 'message'); }
  set onmessage(value) { setHandler(this, 'message', value); }
  /** @type {Handler} */ get onerror() { return handler(this, 'error'); }
  set onerror(value) { setHandler(this, 'error', value); }
  /** @type {Handler} */ get onrequest() { return handler(this, 'tickertape:request'); }
  set onrequest(value) { setHandler(this, 'tickertape:request', value); }
  /** @type {Handler} */ get onretry() { return handler(this, 'tickertape:retry'); }
  set onretry(value) { setHandler(this, 'tickertape:retry', value); }
  /** @type {Handler} */ get oncomment() { return handler(this, 'tickertape:comment'); }
  set oncomment(value) { setHandler(this, 'tickertape:comment', value); }
}

/**
 * A source of server-sent events. `url` is relative to the document; see `Options` for what can be given.
 * Its listeners get `OpenEvent`, `StreamMessageEvent` and `StreamErrorEvent`.
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
  /** Bytes of all bodies so far, comments and incomplete ones included. */
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
      // A delay that the server asked for is not shortened.
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

/** `open`: the answer's head. */
export class OpenEvent extends Event {
  /** @param {Response} response @param {string} url */
  constructor(response, url) {
    super('open');
    this.status = response.status;
    this.headers = response.headers;
    /** Where the answer came from, after redirects. */
    this.url = url;
  }
}

/** An event of the stream, `message` or its own type. @extends {MessageEvent<string>} */
export class StreamMessageEvent extends MessageEvent {
  /** @param {StreamEvent} event @param {string} origin */
  constructor({ type, data, id, retry }, origin) {
    super(type, { data, lastEventId: id, origin });
    /** The reconnection time in milliseconds, if the event's block carried one. */
    this.retry = retry;
  }

  /** As `eventSize`. */
  get bytes() {
    return eventSize({ type: this.type, data: this.data, id: this.lastEventId, retry: this.retry });
  }
}

/**
 * `error`: the connection was lost, and with `readyState` CLOSED for good.
 *
 * `reason` is one of ended, broken, silent (see reconnect.js), status, type, finished (204), too-large. `message` is
 * the sentence for it, null where the stream ended as it may. `delay` says when the next connection is tried, null
 * when none is. `body` is the text of a refusal, at most 64 KiB; `error` its JSON, or the `error` in that.
 */
export class StreamErrorEvent extends Event {
  /** @param {Wait | Stop} action @param {string} [body] */
  constructor(action, body = '') {
    super('error');
    this.reason = action.reason;
    this.message = action.message;
    this.status = action.status;
    this.delay = action.do === 'wait' ? action.delay : null;
    this.attempt = action.do === 'wait' ? action.attempt : null;
    this.body = body;
    this.error = parseError(body);
  }
}

/** @param {string} body @returns {any} */
function parseError(body) {
  try {
    const json = JSON.parse(body);
    return json?.error ?? json;
  } catch {
    return null;
  }
}

/** A wait that something else may end early. */
class Pause {
  /** @type {ReturnType<typeof setTimeout> | undefined} */ #timer;
  #resolve = () => {};

  /** @param {number} delay milliseconds @returns {Promise<void>} */
  wait(delay) {
    return new Promise((resolve) => {
      this.#resolve = resolve;
      this.#timer = setTimeout(resolve, Math.min(delay, LONGEST_TIMEOUT));
    });
  }

  end() {
    clearTimeout(this.#timer);
    this.#resolve();
  }
}

/** Calls `onSilence` when it was not fed for `limit` milliseconds; 0 never. By the wall clock: sleep counts. */
class Watchdog {
  /** @type {ReturnType<typeof setTimeout> | undefined} */ #timer;
  #fed = Date.now();
  #limit;
  #onSilence;

  /** @param {number} limit @param {() => void} onSilence */
  constructor(limit, onSilence) {
    this.#limit = limit;
    this.#onSilence = onSilence;
    this.check();
  }

  feed() {
    this.#fed = Date.now();
  }

  check() {
    if (!this.#limit) return;
    this.stop();
    const left = this.#limit - (Date.now() - this.#fed);
    if (left <= 0) this.#onSilence();
    else this.#timer = setTimeout(() => this.check(), Math.min(left, LONGEST_TIMEOUT));
  }

  stop() {
    clearTimeout(this.#timer);
  }
}

/** "The resulting value, encoded as UTF-8": fetch takes a header's bytes as Latin-1 characters. @param {string} id */
function headerBytes(id) {
  return Array.from(new TextEncoder().encode(id), (byte) => String.fromCharCode(byte)).join('');
}

/** @param {string | URL} url relative to the document, as EventSource takes it @throws {DOMException} SyntaxError */
function resolve(url) {
  try {
    return new URL(url, globalThis.document?.baseURI ?? globalThis.location?.href).href;
  } catch {
    throw new DOMException(`Cannot open a stream at ${JSON.stringify(String(url))}: not a valid URL.`, 'SyntaxError');
  }
}

/** Return the text of a refusal, as much as fits the limits. @param {Response} response @returns {Promise<string>} */
async function errorBody(response) {
  const reader = response.body?.getReader();
  if (!reader) return '';
  const timer = setTimeout(() => reader.cancel().catch(() => {}), BODY_TIMEOUT);
  const utf8 = new TextDecoder();
  let [text, size] = ['', 0];
  try {
    for (let read = await reader.read(); !read.done; read = await reader.read()) {
      text += utf8.decode(read.value, { stream: true });
      size += read.value.length;
      if (size >= BODY_LIMIT) break;
    }
  } catch {
    // The connection broke within the body; the part that was read has to do.
  } finally {
    clearTimeout(timer);
  }
  return text;
}

/** The sentence of an error, its cause's included: fetch hides there what happened. @param {unknown} error */
function reasonOf(error) {
  const { message, cause } = /** @type {any} */ (error ?? {});
  return [message ?? String(error), cause?.message].filter(Boolean).join(': ');
}
