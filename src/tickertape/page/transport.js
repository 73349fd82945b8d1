// @ts-check
/**
 * Two ways to read the same answer: `fetch` (one POST, then GETs where it was cut) and the browser's own EventSource
 * (a POST that only begins it, then a GET). Both call the same handlers with the same events.
 */
import { BASE } from './api.js';
import { ResumableEventSource } from './event-source.js';
import { eventSize } from './sse.js';

/** @import { StreamEvent } from './sse.js' */

/**
 * @typedef {'fetch' | 'eventsource'} Transport
 * @typedef {{ stream: string | null, cursor: string, key: string, json: object }} AnswerRequest a request for an answer, or with a stream its resumption from the cursor
 * @typedef {{ status: number | null, error: any, message: string | null }} Refusal
 * @typedef {object} Handlers
 * @property {(stream: string | null) => void} opened
 * @property {(events: StreamEvent[], bytes: number) => void} events of one read, and the bytes that have come since the last
 * @property {(text: string) => void} comment
 * @property {(delay: number, attempt: number) => void} waiting the connection is gone; the next is tried after `delay`
 * @property {(refusal: Refusal) => void} refused for good
 * @property {() => void} finished the server says that the end was delivered before
 */

/** Milliseconds: the server sends a heartbeat every 15 s. */
const SILENCE = 45_000;
/** Milliseconds: waits grow to this. */
const LONGEST_WAIT = 15_000;
const FIRST_WAIT = 500;

/** Where an answer is requested: the response is its stream, and `Location` names it. */
const ASK_URL = `${BASE}/backend-api/conversation`;
const JSON_ONLY = { Accept: 'application/json' };

/** @param {string} stream */
const urlOf = (stream) => `${BASE}/v1/streams/${stream}`;

/** What the server has of an answer; null if it has it no longer. @param {string} stream */
export async function snapshot(stream) {
  const response = await fetch(urlOf(stream), { headers: JSON_ONLY });
  return response.ok ? response.json() : null;
}

/** Stop an answer; returns what the server has of it then, or null. @param {string} stream */
export async function stop(stream) {
  const response = await fetch(`${urlOf(stream)}/cancel`, { method: 'POST', headers: JSON_ONLY });
  return response.ok ? response.json() : null;
}

/**
 * @param {Transport} transport
 * @param {AnswerRequest} request @param {Handlers} handlers @returns {{ close: () => void }}
 */
export function connect(transport, request, handlers) {
  return transport === 'eventsource' ? new NativeSource(request, handlers) : openFetchSource(request, handlers);
}

/** The events of a read go straight to their handler, all at once. */
class FetchSource extends ResumableEventSource {
  /** @type {Handlers | null} */ handlers = null;

  #reported = 0; // bytes

  /** @param {StreamEvent[]} events */
  deliver(events) {
    const bytes = this.bytesReceived - this.#reported;
    this.#reported += bytes;
    this.handlers?.events(events, bytes);
  }
}

/** @param {AnswerRequest} request @param {Handlers} handlers */
function openFetchSource({ stream, cursor, key, json }, handlers) {
  const patience = { readTimeout: SILENCE, maxDelay: LONGEST_WAIT, reconnectionTime: FIRST_WAIT };
  const source = stream
    ? new FetchSource(urlOf(stream), { ...patience, lastEventId: cursor, reconnecting: true })
    : new FetchSource(ASK_URL, {
        ...patience,
        method: 'POST',
        json,
        headers: { 'Idempotency-Key': key },
        repost: true, // the key makes it safe: the same key never begins a second answer
      });
  source.onopen = ({ headers }) => handlers.opened(streamOf(headers.get('location')) ?? stream);
  source.handlers = handlers;
  source.oncomment = ({ detail }) => handlers.comment(detail.text);
  source.onerror = ({ delay, attempt, reason, status, error, message }) => {
    if (delay !== null) handlers.waiting(delay, attempt);
    else if (reason === 'finished') handlers.finished();
    else handlers.refused({ status, error, message });
  };
  return source;
}

/** The stream that a Location names. @param {string | null} location */
function streamOf(location) {
  return location?.split('/').pop() ?? null;
}

/**
 * The browser's EventSource. It comes back by itself after a cut, but any refusal closes it for good and does not say
 * why: then the snapshot is asked, and a new one is made.
 */
class NativeSource {
  /** @type {EventSource | null} */ #source = null;
  /** @type {ReturnType<typeof setTimeout> | undefined} */ #timer;
  #controller = new AbortController();
  #attempt = 0;

  /** @param {AnswerRequest} request @param {Handlers} handlers */
  constructor(request, handlers) {
    this.request = { ...request };
    this.handlers = handlers;
    addEventListener('online', () => this.#again(), { signal: this.#controller.signal });
    queueMicrotask(() => this.#begin());
  }

  close() {
    this.#controller.abort();
    this.#source?.close();
    clearTimeout(this.#timer);
  }

  /** Begin the answer if that has not been done, see that it is there, and read it. */
  async #begin() {
    const { signal } = this.#controller;
    try {
      const { stream } = this.request;
      const response = stream ? await fetch(urlOf(stream), { headers: JSON_ONLY, signal }) : await this.#ask(signal);
      if (signal.aborted) return;
      const id = stream ?? streamOf(response.headers.get('location'));
      if (response.ok && id) {
        response.body?.cancel().catch(() => {}); // it is read by an EventSource from its start
        return this.#open((this.request.stream = id));
      }
      const body = await response.json().catch(() => null);
      if (signal.aborted) return;
      if (response.status < 500 || body?.error) {
        return this.handlers.refused({ status: response.status, error: body?.error, message: null });
      }
      this.#wait();
    } catch {
      if (!signal.aborted) this.#wait();
    }
  }

  /** @param {AbortSignal} signal */
  #ask(signal) {
    const { key, json } = this.request;
    const headers = { 'Content-Type': 'application/json', 'Idempotency-Key': key };
    return fetch(ASK_URL, { method: 'POST', headers, body: JSON.stringify(json), signal });
  }

  /** @param {string} stream */
  #open(stream) {
    const { cursor } = this.request;
    const source = new EventSource(urlOf(stream) + (cursor && `?last_event_id=${encodeURIComponent(cursor)}`));
    this.#source = source;
    source.onopen = () => this.handlers.opened(stream);
    source.onmessage = ({ data, lastEventId: id }) => {
      this.#attempt = 0;
      this.request.cursor = id;
      const event = { type: 'message', data, id, retry: null };
      this.handlers.events([event], eventSize(event));
    };
    source.onerror = () => {
      if (source.readyState === EventSource.CLOSED) this.#wait();
      else this.handlers.waiting(1000, ++this.#attempt);
    };
  }

  #wait() {
    const delay = Math.min(FIRST_WAIT * 2 ** this.#attempt++, LONGEST_WAIT) * (0.5 + Math.random() / 2);
    this.#timer = setTimeout(() => this.#begin(), delay);
    this.handlers.waiting(delay, this.#attempt);
  }

  /** Back online: do not wait for the rest of the delay. */
  #again() {
    if (this.#source && this.#source.readyState !== EventSource.CLOSED) return;
    clearTimeout(this.#timer);
    this.#begin();
  }
}
