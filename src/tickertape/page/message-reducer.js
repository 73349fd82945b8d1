// @ts-check
/** Applies events to the message that they belong to: each once, and in order. Pure. */
import { addExtras, errorMessage, extrasOf, mergeTools, numberOf, toolsOf } from './chunks.js';

/** @import { Message } from './chat.js' */
/** @import { Chunk } from './chunks.js' */
/** @import { StreamEvent } from './sse.js' */

/**
 * Compare an event's id with a message: the `next` event, a `known` one, the first of a full `replay` (the
 * server did not know our cursor), or one after a `gap`, which no correct server leaves. Ids that do not count are next.
 * @param {Message} message @param {string} id @returns {'next' | 'known' | 'replay' | 'gap'}
 */
export function classify(message, id) {
  if (id === `${message.stream}.${message.count + 1}`) return 'next';
  const number = numberOf(id, message.stream ?? '');
  if (number === 1 && message.count) return 'replay';
  if (number <= message.count) return 'known';
  return number > message.count + 1 ? 'gap' : 'next';
}

/** Drop what was read of this stream, to read it again from its start. @param {Message} message */
export function restart(message) {
  const { base, text } = message;
  Object.assign(message, { text: text.slice(0, base), count: 0, cursor: '', finish: null });
  if (!base) Object.assign(message, { reasoning: '', tools: [], extras: null });
}

/**
 * Apply the next event. Returns the terminal state if it is the last.
 * @param {Message} message @param {Chunk} chunk @param {string} id @param {number} now
 * @returns {Message['state'] | null}
 */
export function reduce(message, chunk, id, now) {
  message.count++;
  message.cursor = id;
  message.text += chunk.text;
  message.reasoning += chunk.reasoning;
  if (chunk.tools.length) mergeTools(message.tools, chunk.tools);
  if (chunk.extras) message.extras = addExtras(message.extras ?? undefined, chunk.extras);
  if (!message.thought && !message.base && chunk.text) message.thought = now - message.at;
  // The state comes one event before the end, and a reload may fall between the two.
  if (chunk.state === 'cancelled') message.finish = 'cancelled';
  else if (chunk.finish) message.finish = chunk.finish;
  if (!chunk.end) return null;
  message.error = chunk.error;
  return chunk.state ?? (message.finish === 'cancelled' ? 'cancelled' : 'completed');
}

/**
 * Apply the events of one read. Returns the `text` that they add, whether there is `more` (reasoning or tool calls), whether
 * the message was `restarted`, whether there is a `gap`, after which nothing was applied, and the terminal `state`.
 * @param {Message} message @param {StreamEvent[]} events @param {Chunk[]} chunks @param {number} now
 */
export function reduceAll(message, events, chunks, now) {
  let [text, more, restarted, gap] = ['', false, false, false];
  /** @type {Message['state'] | null} */ let state = null;
  for (let i = 0; i < events.length && !state; i++) {
    const [chunk, { id }] = [chunks[i], events[i]];
    const kind = classify(message, id);
    if (kind === 'known') continue;
    if (kind !== 'next') {
      restart(message);
      [text, restarted, gap] = ['', true, kind === 'gap'];
      if (gap) break;
    }
    state = reduce(message, chunk, id, now);
    text += chunk.text;
    more ||= chunk.reasoning !== '' || chunk.tools.length > 0 || chunk.extras !== null;
  }
  return { text, more, restarted, gap, state };
}

/** Take the whole answer from a snapshot. @param {Message} message @param {any} snapshot */
export function reduceSnapshot(message, snapshot) {
  const { text = '', reasoning, refusal = '', tool_calls: calls, finish_reason: finish, error } = snapshot;
  const before = message.text.slice(0, message.base);
  Object.assign(message, { text: before + text + refusal, finish, error: error ? errorMessage(error) : null });
  if (message.base) return;
  Object.assign(message, { reasoning: reasoning ?? '', tools: toolsOf(calls), extras: extrasOf(snapshot) });
}

/**
 * Distinguishes what was written before from what is being written. After a resume the server sends at once what it has;
 * the first pause, however short, is where the live part begins.
 */
export class ReplayDetector {
  #active = false;
  #opened = 0;
  #last = 0;

  /** @param {boolean} resumed @param {number} now */
  begin(resumed, now) {
    this.#active = resumed;
    this.#opened = this.#last = now;
  }

  /** Whether the event that has just come is part of the replay. @param {number} now */
  includes(now) {
    const pause = this.#last === this.#opened ? 60 : 15;
    this.#active &&= now - this.#last < pause && now - this.#opened < 1000;
    this.#last = now;
    return this.#active;
  }
}
