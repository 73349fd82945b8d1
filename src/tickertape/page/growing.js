// @ts-check
/** The inside of a paragraph that grows: what is finished is handed out once, only the rest is read again. Pure. */
import { parseInline } from './inline.js';

/** @import { Inline } from './spans.js' */

export class Growing {
  #safe = 0;
  #before = '\n';
  #used = 0;

  /**
   * Take the text as it is now: it may only have grown since the last call.
   * @param {string} text
   * @param {boolean} final nothing will be appended any more
   * @returns {{ finished: Inline[], open: Inline[] }} `finished` goes after all that was finished before
   */
  update(text, final) {
    const { nodes, safe, stable, used } = parseInline(text.slice(this.#safe), final, this.#before, this.#used);
    if (final) return { finished: nodes, open: [] };
    if (safe) {
      this.#safe += safe;
      this.#before = text[this.#safe - 1];
      this.#used = used;
    }
    return { finished: nodes.slice(0, stable), open: nodes.slice(stable) };
  }
}
