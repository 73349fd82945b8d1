// @ts-check
/**
 * What happened on the wire for one answer: the records behind the activity strip and the panel. Pure; time is an
 * argument.
 */

/** @import { Chunk } from './chunks.js' */
/** @import { StreamEvent } from './sse.js' */
/** @import { Message } from './chat.js' */
/** @import { Transport } from './transport.js' */

/**
 * @typedef {{ what: 'request', transport: Transport, stream: string | null, json: object }
 *   | { what: 'open', stream: string | null }
 *   | { what: 'events', events: StreamEvent[], chunks: Chunk[], bytes: number, replayed: boolean }
 *   | { what: 'comment', text: string }
 *   | { what: 'cut' }
 *   | { what: 'end', state: Message['state'] }} WireEvent
 * @typedef {'event' | 'comment' | 'reconnect' | 'end' | 'broken'} Kind
 * @typedef {{ kind: Kind, at: number, gap: number, text: string, event: StreamEvent | null, count: number }} Record
 * `text` is what the event adds to the answer, or what there is to say without one; `count` how many events there were
 */

/** Records that are kept: memory stays flat however long an answer is. */
export const KEPT = 1000;

export class WireLog {
  /** @type {Record[]} */ records = [];
  /** How many events there were, also those no longer kept. */
  events = 0;
  /** How many records there were. */
  seen = 0;
  bytes = 0;
  /** How often it was connected again. */
  reconnects = 0;
  /** @type {Transport} */ transport = 'fetch';
  /** @type {string | null} */ stream = null;
  /** @type {object | null} */ json = null;
  /** @type {'idle' | 'running' | 'cut' | Message['state']} */ state = 'idle';
  /** Milliseconds from the request to the first text, and when text came last. */
  firstText = 0;
  /** Tokens of the whole answer, as its provider counted them. */
  tokens = 0;
  #missed = false; // some of it was written before we came
  #began = 0;
  #firstAt = 0;
  #lastAt = 0;
  #texts = 0;
  #last = 0;

  /** @param {WireEvent} event @param {number} now */
  add(event, now) {
    if (event.what === 'request') return this.#request(event, now);
    if (event.what === 'open') return this.#open(event.stream, now);
    if (event.what === 'events') return this.#read(event, now);
    if (event.what === 'comment') return this.#record('comment', now, `:${event.text}`);
    if (event.what === 'cut') {
      this.state = 'cut';
      return;
    }
    this.state = event.state;
    const whole = event.state === 'completed' || event.state === 'cancelled';
    this.#record(whole ? 'end' : 'broken', now, event.state);
  }

  /** Tokens a second, if the provider has counted them, else events with text, over the time in which they came; 0 before
   * there are two. */
  get rate() {
    const time = this.#lastAt - this.#firstAt;
    const count = this.tokens || this.#texts;
    return count > 1 && time > 0 ? ((count - 1) * 1000) / time : 0;
  }

  /** Milliseconds from the request to the last thing that happened. */
  get time() {
    return this.#last - this.#began;
  }

  /**
   * The request as a command for a terminal. Without the ids of its messages: run again it asks again.
   * @param {string} server its URL
   */
  curl(server) {
    const { message_id: _, messages, ...json } = /** @type {any} */ (this.json ?? {});
    const asked = messages?.map((/** @type {any} */ { role, content }) => ({ role, content }));
    const quoted = `'${JSON.stringify({ ...json, messages: asked }).replaceAll("'", "'\\''")}'`;
    return `curl -N ${server}/backend-api/conversation -H 'Content-Type: application/json' -d ${quoted}`;
  }

  /** @param {Extract<WireEvent, { what: 'request' }>} request @param {number} now */
  #request({ transport, stream, json }, now) {
    if (!this.records.length) this.#began = this.#last = now;
    Object.assign(this, { transport, stream, json, state: this.events ? 'cut' : 'running' });
  }

  /** @param {string | null} stream @param {number} now */
  #open(stream, now) {
    if (this.state === 'cut') {
      this.reconnects++;
      this.#record('reconnect', now, 'connected again');
    }
    this.stream = stream;
    this.state = 'running';
  }

  /** @param {Extract<WireEvent, { what: 'events' }>} read @param {number} now */
  #read({ events, chunks, bytes, replayed }, now) {
    this.bytes += bytes;
    if (replayed) this.#missed = true;
    for (let i = 0; i < events.length; i++) {
      const { text, reasoning, usage } = chunks[i];
      this.events++;
      if (usage && !this.#missed) this.tokens = Number(usage.completion_tokens) || this.tokens;
      if ((text || reasoning) && !replayed) {
        if (!this.#texts++) [this.firstText, this.#firstAt] = [now - this.#began, now];
        this.#lastAt = now;
      }
      this.#record('event', now, text || reasoning, events[i]);
    }
  }

  /** @param {Kind} kind @param {number} at @param {string} text @param {StreamEvent | null} [event] */
  #record(kind, at, text, event = null) {
    this.seen++;
    this.records.push({ kind, at, gap: at - this.#last, text, event, count: this.events });
    this.#last = at;
    if (this.records.length > KEPT) this.records.shift();
  }
}

/**
 * An event as it was written, but for the spaces and the lines' order that only the sender knows.
 * @param {StreamEvent} event
 */
export function rawOf({ data, id, retry }) {
  return `${retry === null ? '' : `retry: ${retry}\n`}id: ${id}\ndata: ${data.replaceAll('\n', '\ndata: ')}`;
}
