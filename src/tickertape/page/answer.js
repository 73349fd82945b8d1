// @ts-check
/**
 * One answer on its way from the wire into a message: begun, cut, resumed, stopped, ended.
 *
 * The message holds the truth and is saved as events arrive; text and cursor change together, so that a reload at any
 * moment goes on from the last event that was taken.
 */
import { LOCKED } from './base.js';
import { ChunkReader, sentence } from './chunks.js';
import { Replay, startAgain, takeAll, takeSnapshot } from './taking.js';
import { connect, snapshot, stop } from './transport.js';

/** @import { Hooks, Phase } from './phases.js' */
/** @import { StreamEvent } from './sse.js' */
/** @import { Message } from './store.js' */
/** @import { Refusal, Transport } from './transport.js' */

const SAVE_EVERY = 1000; // milliseconds while events arrive; more for a long answer, which costs more to save
const GRACE = 200; // milliseconds for a response to end by itself: its connection can then be used again
const PATIENCE = 30_000; // for a stream to begin that is to be stopped at once

export class Answer {
  /** @type {Phase} */ phase = 'sending';
  /** When the next connection is tried, by Date.now(). */
  nextTry = 0;
  /** @type {{ close: () => void } | null} */ #connection = null;
  /** @type {ReturnType<typeof setTimeout> | undefined} */ #saving;
  #stopWanted = false;
  #known = false; // the stream was there before we came
  #before; // milliseconds that earlier streams of the message took
  #replay = new Replay();
  #reader = new ChunkReader();

  /** @param {Message} message @param {Transport} transport @param {Hooks} hooks */
  constructor(message, transport, hooks) {
    this.message = message;
    this.transport = transport;
    this.hooks = hooks;
    /** Since when it has been waited for: an answer that is gone on with began long ago. */
    this.since = message.base ? Date.now() : message.at;
    this.#before = message.base ? message.took : 0;
  }

  /** Ask, or go on where it was; also after `detach`, or to change the transport. */
  attach() {
    this.detach();
    const { stream, cursor, key, text } = this.message;
    const json = this.hooks.request();
    this.#known = stream !== null;
    this.#to(!stream ? 'sending' : text ? 'writing' : 'thinking');
    this.hooks.wire({ what: 'request', transport: this.transport, stream, json });
    const want = { stream, cursor, key, json };
    this.#connection = connect(this.transport, want, {
      opened: (id) => this.#opened(id),
      events: (events, bytes) => this.#events(events, bytes),
      comment: (comment) => this.hooks.wire({ what: 'comment', text: comment }),
      waiting: (delay) => this.#waiting(delay),
      refused: (refusal) => this.#refused(refusal),
      finished: () => this.#adopt(),
    });
  }

  /** Leave the stream; it goes on without us. */
  detach() {
    this.#connection?.close();
    this.#connection = null;
    this.saveNow();
  }

  /** Stop the answer itself. What is written stays. */
  async stop() {
    const { stream } = this.message;
    if (this.phase === 'over' || this.#stopWanted) return;
    this.#stopWanted = true;
    // Where nobody answers nothing has begun, as far as we know: it can be sent again with the same key. Otherwise the
    // stream is stopped as soon as it has a name.
    if (!stream) return this.#end(this.phase === 'sending' ? 'cancelled' : 'unsent');
    this.#to('stopping');
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
    startAgain(this.message);
    this.hooks.reset();
  }

  /** @param {string | null} stream */
  #opened(stream) {
    const { message } = this;
    if (this.phase === 'over') return void (stream && stop(stream).catch(() => {}));
    if (stream && !message.stream) {
      Object.assign(message, { stream, state: 'running' });
      this.#save();
    }
    this.#replay.begin(this.#known || message.count > 0, performance.now());
    this.hooks.wire({ what: 'open', stream: message.stream });
    if (this.#stopWanted && message.stream) this.#cancel(message.stream);
    else this.#to(message.text ? 'writing' : 'thinking');
  }

  /** Take what came in one read: many events of a fast model, and what follows is done once. @param {StreamEvent[]} events @param {number} bytes */
  #events(events, bytes) {
    const { message } = this;
    if (this.phase === 'over') return;
    const chunks = events.map(({ data }) => this.#reader.read(data));
    const replayed = this.#replay.has(performance.now());
    this.hooks.wire({ what: 'events', events, chunks, bytes, replayed });
    const { text, more, again, gap, state } = takeAll(message, events, chunks, Date.now());
    if (again) this.hooks.reset();
    if (gap) return this.attach(); // rather than show a hole
    if (text) this.hooks.text(!replayed && !this.#stopWanted, text);
    if (more) this.hooks.more();
    if (state) return this.#end(state);
    if (text && this.phase === 'thinking') this.#to('writing');
    this.#saving ??= setTimeout(() => this.#save(), Math.max(SAVE_EVERY, message.text.length / 50));
  }

  /** @param {number} delay */
  #waiting(delay) {
    if (this.phase === 'over') return;
    this.nextTry = Date.now() + delay;
    this.hooks.wire({ what: 'cut' });
    this.saveNow();
    if (!this.#stopWanted) this.#to('waiting');
  }

  /** @param {Refusal} refusal */
  async #refused({ status, error, message: why }) {
    if (this.phase === 'over') return;
    this.detach();
    if (error?.code === LOCKED) {
      this.#to('locked');
      return (await this.hooks.unlock()) && this.attach();
    }
    const { message } = this;
    message.error = error ? sentence(error) : why;
    // Without an error of the server's own it was something in between, and asking again is safe.
    this.#end(message.stream ? 'gone' : error || (status && status < 500) ? 'failed' : 'unsent');
    // What cannot be gone on with is as it was; and a stream that is gone has left its text in the chat.
    if (message.state !== 'unsent' && (message.stream || message.base)) this.hooks.refused((message.base && message.error) || '');
  }

  /** @param {string} stream */
  async #cancel(stream) {
    // The stream tells its end itself; only where it cannot be read the snapshot has to do. Without an answer the stop
    // is wanted still, and tried again once the stream is open again.
    const now = await stop(stream).catch(() => null);
    if (now && this.phase !== 'over' && !this.#connection) this.#show(now);
  }

  /** The end was delivered, but not to us: take the whole from the snapshot. */
  async #adopt() {
    if (this.phase === 'over') return;
    this.detach();
    const whole = await snapshot(this.message.stream ?? '').catch(() => undefined);
    if (whole === undefined) this.attach();
    else this.#show(whole);
  }

  /** @param {any} whole null if the server has it no longer */
  #show(whole) {
    if (!whole) return this.#end('gone');
    if (whole.state === 'running') return this.attach();
    this.#reset();
    takeSnapshot(this.message, whole);
    this.hooks.text(false);
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
    this.hooks.wire({ what: 'end', state });
    this.#to('over');
  }

  /** @param {Phase} phase */
  #to(phase) {
    this.phase = phase;
    this.hooks.change();
  }
}
