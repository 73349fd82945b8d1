// @ts-check
/**
 * One answer on its way from the wire into a message: begun, cut, resumed, stopped, ended.
 *
 * The message holds the truth and is saved as events arrive; text and cursor change together, so that a reload at any
 * moment goes on from the last event that was taken.
 */
import { numberOf, readChunk, sentence } from './chunks.js';
import { Replay, place, startAgain, take, takeSnapshot } from './taking.js';
import { connect, urlOf } from './transport.js';

/** @import { Message } from './store.js' */
/** @import { Refusal, Transport } from './transport.js' */

/**
 * @typedef {'sending' | 'thinking' | 'writing' | 'waiting' | 'locked' | 'stopping' | 'over'} Phase
 * @typedef {object} Hooks
 * @property {() => object} request what to POST
 * @property {(message: Message) => void} save
 * @property {(text: string, live: boolean) => void} text more of the answer; not live if it was written before
 * @property {() => void} reset the text begins anew
 * @property {() => void} change the phase or the state is another
 * @property {(what: import('./wirelog.js').Happening) => void} wire
 * @property {() => Promise<boolean>} unlock the server wants a key; whether it has one now
 */

/** Milliseconds between saves while events arrive; more for a long answer, which costs more to save. */
const SAVE_EVERY = 200;
const JSON_ONLY = { headers: { Accept: 'application/json' } };

export class Answer {
  /** @type {Phase} */ phase = 'sending';
  /** When the next connection is tried, by Date.now(). */
  nextTry = 0;
  /** @type {{ close: () => void } | null} */ #connection = null;
  /** @type {ReturnType<typeof setTimeout> | undefined} */ #saving;
  #stopWanted = false;
  #replay = new Replay();

  /** @param {Message} message @param {Transport} transport @param {Hooks} hooks */
  constructor(message, transport, hooks) {
    this.message = message;
    this.transport = transport;
    this.hooks = hooks;
  }

  /** Ask, or go on where it was; also after `detach`, or to change the transport. */
  attach() {
    this.detach();
    const { stream, cursor, key, text } = this.message;
    const json = this.hooks.request();
    this.#to(!stream ? 'sending' : text ? 'writing' : 'thinking');
    this.hooks.wire({ what: 'request', transport: this.transport, stream, json });
    this.#connection = connect(
      this.transport,
      { stream, cursor, key, json },
      {
        opened: (id) => this.#opened(id),
        event: (event) => this.#event(event),
        comment: (comment) => this.hooks.wire({ what: 'comment', text: comment }),
        waiting: (delay) => this.#waiting(delay),
        refused: (refusal) => this.#refused(refusal),
        finished: () => this.#adopt(),
      },
    );
  }

  /** Leave the stream; it goes on without us. */
  detach() {
    this.#connection?.close();
    this.#connection = null;
    this.saveNow();
  }

  /** Stop the answer itself. What is written stays. */
  async stop() {
    if (this.phase === 'over' || this.#stopWanted) return;
    const { stream } = this.message;
    // Nothing is known to have begun, and nobody answers: it stays unsent, and can be sent again with the same key.
    if (!stream && this.phase !== 'sending') return this.#end('unsent');
    this.#stopWanted = true;
    this.#to('stopping');
    if (stream) await this.#cancel(stream);
  }

  /** Save what is not saved yet: before the page goes away. */
  saveNow() {
    if (this.#saving !== undefined) this.#save();
  }

  #save() {
    clearTimeout(this.#saving);
    this.#saving = undefined;
    this.hooks.save(this.message);
  }

  /** @param {string | null} stream */
  #opened(stream) {
    const { message } = this;
    if (!message.stream && stream) {
      Object.assign(message, { stream, state: 'running' });
      this.#save();
    }
    this.#replay.begin(message.count > 0, performance.now());
    this.hooks.wire({ what: 'open', stream: message.stream });
    if (this.#stopWanted && message.stream) this.#cancel(message.stream);
    else this.#to(message.text ? 'writing' : 'thinking');
  }

  /** @param {{ data: string, id: string, bytes: number, retry: number | null }} event */
  #event({ data, id, bytes, retry }) {
    const { message } = this;
    const chunk = readChunk(data);
    const replayed = this.#replay.has(performance.now());
    this.hooks.wire({ what: 'event', id, data, bytes, retry, text: chunk.text || chunk.reasoning, replayed });
    const where = place(message, numberOf(id, message.stream ?? ''));
    if (where === 'had') return;
    if (where !== 'next') this.#startAgain();
    if (where === 'gap') return this.attach(); // rather than show a hole
    const state = take(message, chunk, id, Date.now());
    if (chunk.text) this.hooks.text(chunk.text, !replayed && !this.#stopWanted);
    if (state) return this.#end(state);
    if (chunk.text && this.phase === 'thinking') this.#to('writing');
    else if (chunk.reasoning || chunk.tools.length) this.hooks.change();
    this.#saving ??= setTimeout(() => this.#save(), Math.max(SAVE_EVERY, message.text.length / 100));
  }

  #startAgain() {
    startAgain(this.message);
    this.hooks.reset();
  }

  /** @param {number} delay */
  #waiting(delay) {
    this.nextTry = Date.now() + delay;
    this.hooks.wire({ what: 'cut' });
    this.saveNow();
    if (!this.#stopWanted) this.#to('waiting');
  }

  /** @param {Refusal} refusal */
  async #refused({ status, error, message: why }) {
    this.detach();
    if (status === 401) {
      this.#to('locked');
      if (await this.hooks.unlock()) this.attach();
      return;
    }
    this.message.error = error ? sentence(error) : why;
    if (this.message.stream) return this.#end('gone');
    // Without an error of the server's own it was something in between, and asking again is safe.
    this.#end(error || (status && status < 500) ? 'failed' : 'unsent');
  }

  /** @param {string} stream */
  async #cancel(stream) {
    try {
      const response = await fetch(`${urlOf(stream)}/cancel`, { method: 'POST', ...JSON_ONLY });
      // The stream tells its end itself; only where it cannot be read the snapshot has to do.
      if (response.ok && this.phase !== 'over' && !this.#connection) this.#show(await response.json());
    } catch {
      this.hooks.wire({ what: 'cut' }); // wanted still, and tried again once the stream is open again
    }
  }

  /** The end was delivered, but not to us: take the whole from the snapshot. */
  async #adopt() {
    this.detach();
    try {
      const response = await fetch(urlOf(this.message.stream ?? ''), JSON_ONLY);
      if (response.ok) this.#show(await response.json());
      else this.#end('gone');
    } catch {
      this.attach();
    }
  }

  /** @param {any} snapshot */
  #show(snapshot) {
    if (snapshot.state === 'running') return this.attach();
    if (snapshot.text !== this.message.text) {
      this.#startAgain();
      this.hooks.text(snapshot.text, false);
    }
    takeSnapshot(this.message, snapshot);
    this.#end(snapshot.state);
  }

  /** @param {Message['state']} state */
  #end(state) {
    Object.assign(this.message, { state, took: Date.now() - this.message.at });
    this.#save();
    this.detach();
    this.hooks.wire({ what: 'end', state });
    this.#to('over');
  }

  /** @param {Phase} phase */
  #to(phase) {
    this.phase = phase;
    this.hooks.change();
  }
}
