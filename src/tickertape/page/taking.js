// @ts-check
/** How an event changes the message that it belongs to: each is taken once, and in order. Pure. */
import { mergeTools, sentence } from './chunks.js';
import { isOver } from './store.js';

/** @import { Chunk } from './chunks.js' */
/** @import { Message } from './store.js' */

/** Whether an answer is still to be read, or to be asked for. @param {Message} message */
export function isOpen(message) {
  return message.role === 'assistant' && !isOver(message) && message.state !== 'unsent';
}

/**
 * What an event is to a message, by its number: the `next` one, one that it `had`, the first of a full `replay` (the
 * server did not know our cursor), or one after a `gap`, which no correct server leaves.
 * @param {Message} message @param {number} number NaN if the server does not count @returns {'next' | 'had' | 'replay' | 'gap'}
 */
export function place(message, number) {
  if (number === 1 && message.count) return 'replay';
  if (number <= message.count) return 'had';
  return number > message.count + 1 ? 'gap' : 'next';
}

/** Forget what was read of this stream: it is read again from the start. @param {Message} message */
export function startAgain(message) {
  const { base, text } = message;
  Object.assign(message, { text: text.slice(0, base), count: 0, cursor: '', finish: null });
  if (!base) Object.assign(message, { reasoning: '', tools: [] });
}

/**
 * Take the next event. Returns the terminal state if it is the last.
 * @param {Message} message @param {Chunk} chunk @param {string} id @param {number} now
 * @returns {Message['state'] | null}
 */
export function take(message, chunk, id, now) {
  message.count++;
  message.cursor = id;
  message.text += chunk.text;
  message.reasoning += chunk.reasoning;
  mergeTools(message.tools, chunk.tools);
  if (!message.thought && !message.base && chunk.text) message.thought = now - message.at;
  // The state comes one event before the end, and a reload may fall between the two.
  if (chunk.state === 'cancelled') message.finish = 'cancelled';
  else if (chunk.finish) message.finish = chunk.finish;
  if (!chunk.end) return null;
  message.error = chunk.error;
  return chunk.state ?? (message.finish === 'cancelled' ? 'cancelled' : 'completed');
}

/** Take the whole from a snapshot. @param {Message} message @param {any} snapshot */
export function takeSnapshot(message, { text, reasoning, finish_reason: finish, error }) {
  const before = message.text.slice(0, message.base);
  Object.assign(message, { text: before + text, finish, error: error ? sentence(error) : null });
  if (!message.base) message.reasoning = reasoning ?? '';
}

/**
 * Tells what was written before from what is being written. After a resume the server sends in one go what it has;
 * the first pause, however short, is where the live part begins.
 */
export class Replay {
  #active = false;
  #opened = 0;
  #last = 0;

  /** @param {boolean} resumed @param {number} now */
  begin(resumed, now) {
    this.#active = resumed;
    this.#opened = this.#last = now;
  }

  /** Whether the event that has just come is part of the replay. @param {number} now */
  has(now) {
    const pause = this.#last === this.#opened ? 60 : 15;
    this.#active &&= now - this.#last < pause && now - this.#opened < 1000;
    this.#last = now;
    return this.#active;
  }
}
