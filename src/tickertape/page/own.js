// @ts-check
/** What this tab asked for comes back on the feed of changes: to read the whole chat anew for that would be in vain. Pure. */
import { isOver } from './store.js';

/** @import { Change } from './feed.js' */
/** @import { Message } from './store.js' */

export class Own {
  /** @type {Set<string>} answers that were asked for here, until their end is told */ #asked = new Set();

  /** How many were asked for. */
  count = 0;

  /** @param {string} answer */
  asked(answer) {
    this.count++;
    this.#asked.add(answer);
  }

  /** Whether a change says nothing new. @param {Change} change @param {Message | null} message the one that it is about */
  knows({ what, message_id: id = '' }, message) {
    if (what === 'message') return this.#asked.has(id);
    const read = message !== null && message.stream !== null && message.state !== 'gone' && isOver(message);
    return what === 'ended' && this.#asked.delete(id) && read;
  }
}
