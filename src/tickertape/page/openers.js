// @ts-check
/** The nodes of a paragraph that is being read, and the openers that wait for their closers. Pure; see inline.js. */

/** Characters between an opener and its closer. Signed links run to 1 500. */
export const REACH = 2000;
/** Characters: how far an unclosed emphasis is shown as such before it is taken for a stray asterisk. */
const HOPE = 300;
/** The mark of an opener that only says: nothing from here on is settled. */
export const HELD = '';

/** @import { Inline } from './spans.js' */
/**
 * A run that may be closed, of `whole` marks, of which `used` had closed others before and `count` are left.
 * @typedef {{ mark: string, at: number, node: number, count: number, used: number, whole: number, both: boolean }} Opener
 */

export class Openers {
  /** @type {Inline[]} */ nodes = [];
  /** @type {Opener[]} */ openers = [];
  /** Up to where in the text, with how many nodes, nothing can change any more; and of a run that stands there, how
   * many marks have been used. */
  safe = 0;
  stable = 0;
  used = 0;

  /** @param {Inline} node @param {number} next @returns {number} */
  put(node, next) {
    this.nodes.push(node);
    return next;
  }

  /** @param {string} mark @param {number} at @param {Partial<Opener>} [more] */
  open(mark, at, more) {
    this.openers.push({ mark, at, node: this.nodes.length, count: 0, used: 0, whole: 0, both: false, ...more });
  }

  /** @param {number} safe @param {number} stable @param {number} [used] */
  settle(safe, stable, used = 0) {
    if (safe > this.safe) [this.safe, this.stable, this.used] = [safe, stable, used];
  }

  /** Settle what stands before the oldest opener within reach; false if there is none. @param {number} at */
  settleBefore(at) {
    while (this.openers.length && at - this.openers[0].at > REACH) this.openers.shift();
    if (!this.openers.length) return false;
    const { at: safe, node, used } = this.openers[0];
    this.settle(safe, node, used);
    return true;
  }

  /** Nothing from `at` on is settled. @param {number} at */
  hold(at) {
    if (!this.openers.length) this.settle(at, this.nodes.length);
    this.open(HELD, at);
  }

  /** Pairs a closing run with the nearest opener that fits; returns how many of its marks that took.
   * @param {string} mark @param {number} count @param {number} whole @param {boolean} both @param {number} at */
  pair(mark, count, whole, both, at) {
    for (let k = this.openers.length - 1; k >= 0 && at - this.openers[k].at <= REACH; k--) {
      const opener = this.openers[k];
      if (opener.mark !== mark) continue;
      // "If one of the delimiters can both open and close, the sum of the lengths must not be a multiple of 3
      // unless both lengths are multiples of 3."
      if ((opener.both || both) && (opener.whole + whole) % 3 === 0 && (opener.whole % 3 || whole % 3)) continue;
      const used = Math.min(count, opener.count, 2);
      this.#wrap(k, used, mark === '~' ? 'del' : used === 2 ? 'strong' : 'em');
      return used;
    }
    return 0;
  }

  /** @param {number} k which opener @param {number} used @param {string} tag */
  #wrap(k, used, tag) {
    const opener = this.openers[k];
    const children = this.nodes.splice(opener.node + 1);
    opener.count -= used;
    this.openers.length = opener.count ? k + 1 : k;
    this.nodes[opener.node] = opener.mark.repeat(opener.count);
    this.nodes.push({ tag, children });
  }

  /** Take out what stands since a bracket opened, with all openers since. @param {number} k which opener */
  since(k) {
    const { node } = this.openers[k];
    this.openers.length = k;
    const children = this.nodes.splice(node);
    children[0] = ''; // the bracket itself
    return children;
  }

  /** At the growing end: show young unclosed emphasis as what it will most likely be.
   * @param {string} text @param {string} before */
  hope(text, before) {
    const line = text.lastIndexOf('\n') + 1;
    for (let k = this.openers.length - 1; k >= 0; k--) {
      const { mark, count, at, node } = this.openers[k];
      const inWord = /[\p{L}\p{N}]/u.test(text[at - 1] ?? before);
      if (!count || at < line || text.length - at > HOPE || inWord) continue;
      const children = this.nodes.splice(node + 1);
      this.nodes[node] = { tag: mark === '~' ? 'del' : count === 2 ? 'strong' : 'em', children };
    }
  }
}
