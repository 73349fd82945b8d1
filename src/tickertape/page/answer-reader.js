// @ts-check
/**
 * Reads one answer from the wire into a message: begun, cut, resumed, stopped, ended.
 *
 * The message is the state and is saved as events arrive; text and cursor change together, so that a reload at any
 * moment goes on from the last event that was applied.
 */
import { INVALID_KEY } from './api.js';
import { ChunkReader, errorMessage } from './chunks.js';
import { reduceAll, reduceSnapshot, ReplayDetector, restart } from './message-reducer.js';
import { connect, snapshot, stop } from './transport.js';

/** @import { Message } from './chat.js' */
/** @import { StreamEvent } from './sse.js' */
/** @import { Refusal, Transport } from './transport.js' */

/**
 * @typedef {'sending' | 'thinking' | 'writing' | 'waiting' | 'locked' | 'stopping' | 'over'} Phase
 * @typedef {object} AnswerHooks what follows from its events
 * @property {() => object} request what to POST
 * @property {(message: Message) => void} save
 * @property {(live: boolean, added?: string) => void} onText there is more of the answer; not live if it was written before
 * @property {() => void} onParts there is more of its reasoning or its tool calls
 * @property {() => void} onReset the text begins anew
 * @property {(message: string) => void} onRefused the chat is to be read from the server again; the message for the person, if any
 * @property {() => void} onChange the phase or the state has changed
 * @property {(what: import('./wire-log.js').WireEvent) => void} onWire
 * @property {() => Promise<boolean>} signIn the server wants a key; returns whether it has accepted one
 */

const SAVE_EVERY = 1000; // milliseconds while events arrive; more for a long answer, which costs more to save
const GRACE = 200; // milliseconds for a response to end by itself: its connection can then be used again
const PATIENCE = 30_000; // for a stream to begin that is to be stopped at once

export class AnswerReader {
  /** @type {Phase} */ phase = 'sending';
  /** When the next connection is tried, by Date.now(). */
  nextTry = 0;
  /** @type {{ close: () => void } | null} */ #connection = null;
  /** @type {ReturnType<typeof setTimeout> | undefined} */ #saving;
  #stopRequested = false;
  #resumed = false; // the stream had begun before
  #before; // milliseconds that earlier streams of the message took
  #replay = new ReplayDetector();
  #chunks = new ChunkReader();

  /** @param {Message} message @param {Transport} transport @param {AnswerHooks} hooks */
  constructor(message, transport, hooks) {
    this.message = message;
    this.transport = transport;
    this.hooks = hooks;
    /** Since when it has been waited for: a continued answer began long ago. */
    this.since = message.base ? Date.now() : message.at;
    this.#before = message.base ? message.took : 0;
  }

  /** Request the answer, or resume it; also after `detach`, or to change the transport. */
  attach() {
    this.detach();
    const { stream, cursor, key, text } = this.message;
    const json = this.hooks.request();
    this.#resumed = stream !== null;
    this.#setPhase(!stream ? 'sending' : text ? 'writing' : 'thinking');
    this.hooks.onWire({ what: 'request', transport: this.transport, stream, json });
    const request = { stream, cursor, key, json };
    this.#connection = connect(this.transport, request, {
      opened: (id) => this.#opened(id),
      events: (events, bytes) => this.#events(events, bytes),
      comment: (comment) => this.hooks.onWire({ what: 'comment', text: comment }),
      waiting: (delay) => this.#waiting(delay),
      refused: (refusal) => this.#refused(refusal),
      finished: () => this.#loadSnapshot(),
    });
  }

  /** Stop reading; the stream goes on. */
  detach() {
    this.#connection?.close();
    this.#connection = null;
    this.saveNow();
  }

  /** Stop the answer itself. What is written stays. */
  async stop() {
    const { stream } = this.message;
    if (this.phase === 'over' || this.#stopRequested) return;
    this.#stopRequested = true;
    // Without a response nothing has begun, as far as we know: it can be sent again with the same key. Otherwise the
    // stream is stopped as soon as its id is known.
    if (!stream) return this.#end(this.phase === 'sending' ? 'cancelled' : 'unsent');
    this.#setPhase('stopping');
    await this.#cancel(stream);
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

  #reset() {
    restart(this.message);
    this.hooks.onReset();
  }

  /** @param {string | null} stream */
  #opened(stream) {
    const { message } = this;
    if (this.phase === 'over') return void (stream && stop(stream).catch(() => {}));
    if (stream && !message.stream) {
      Object.assign(message, { stream, state: 'running' });
      this.#save();
    }
    this.#replay.begin(this.#resumed || message.count > 0, performance.now());
    this.hooks.onWire({ what: 'open', stream: message.stream });
    if (this.#stopRequested && message.stream) this.#cancel(message.stream);
    else this.#setPhase(message.text ? 'writing' : 'thinking');
  }

  /**
   * Take what came in one read: many events of a fast model, and what follows is done once.
   * @param {StreamEvent[]} events @param {number} bytes
   */
  #events(events, bytes) {
    const { message } = this;
    if (this.phase === 'over') return;
    const chunks = events.map(({ data }) => this.#chunks.read(data));
    const replayed = this.#replay.includes(performance.now());
    this.hooks.onWire({ what: 'events', events, chunks, bytes, replayed });
    const { text, more, restarted, gap, state } = reduceAll(message, events, chunks, Date.now());
    if (restarted) this.hooks.onReset();
    if (gap) return this.attach(); // rather than show a hole
    if (text) this.hooks.onText(!replayed && !this.#stopRequested, text);
    if (more) this.hooks.onParts();
    if (state) return this.#end(state);
    if (text && this.phase === 'thinking') this.#setPhase('writing');
    this.#saving ??= setTimeout(() => this.#save(), Math.max(SAVE_EVERY, message.text.length / 50));
  }

  /** @param {number} delay */
  #waiting(delay) {
    if (this.phase === 'over') return;
    this.nextTry = Date.now() + delay;
    this.hooks.onWire({ what: 'cut' });
    this.saveNow();
    if (!this.#stopRequested) this.#setPhase('waiting');
  }

  /** @param {Refusal} refusal */
  async #refused({ status, error, message: why }) {
    if (this.phase === 'over') return;
    this.detach();
    if (error?.code === INVALID_KEY) {
      this.#setPhase('locked');
      return (await this.hooks.signIn()) && this.attach();
    }
    const { message } = this;
    message.error = error ? errorMessage(error) : why;
    // Without an error of the server's own a proxy answered, and sending the request again is safe.
    this.#end(message.stream ? 'gone' : error || (status && status < 500) ? 'failed' : 'unsent');
    // An answer that cannot be continued is unchanged on the server, and the text of a stream that is gone is in the chat.
    if (message.state !== 'unsent' && (message.stream || message.base)) this.hooks.onRefused((message.base && message.error) || '');
  }

  /** @param {string} stream */
  async #cancel(stream) {
    // The stream itself delivers its end; the snapshot is used only where the stream is not being read. Without a
    // response the stop is still wanted, and is sent again once the stream is open again.
    const now = await stop(stream).catch(() => null);
    if (now && this.phase !== 'over' && !this.#connection) this.#applySnapshot(now);
  }

  /** The end was delivered, but not to us: take the whole from the snapshot. */
  async #loadSnapshot() {
    if (this.phase === 'over') return;
    this.detach();
    const whole = await snapshot(this.message.stream ?? '').catch(() => undefined);
    if (whole === undefined) this.attach();
    else this.#applySnapshot(whole);
  }

  /** @param {any} whole null if the server has it no longer */
  #applySnapshot(whole) {
    if (!whole) return this.#end('gone');
    if (whole.state === 'running') return this.attach();
    this.#reset();
    reduceSnapshot(this.message, whole);
    this.hooks.onText(false);
    this.#end(whole.state);
  }

  /** @param {Message['state']} state */
  #end(state) {
    const connection = this.#connection;
    this.#connection = null;
    setTimeout(() => connection?.close(), state === 'cancelled' && !this.message.stream ? PATIENCE : GRACE);
    const took = this.#before + Date.now() - this.since;
    Object.assign(this.message, { state, took });
    this.#save();
    this.hooks.onWire({ what: 'end', state });
    this.#setPhase('over');
  }

  /** @param {Phase} phase */
  #setPhase(phase) {
    this.phase = phase;
    this.hooks.onChange();
  }
}
