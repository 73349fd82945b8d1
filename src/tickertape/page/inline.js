// @ts-check
/**
 * The inside of a paragraph: emphasis, code, links. Pure, and made for text that is still growing.
 *
 * One pass from left to right with a stack of openers, as CommonMark describes it, with two differences. An opener
 * reaches at most `REACH` characters, so that the unfinished end stays short whatever the model writes; and at
 * the growing end an opener without its closer is shown as what it will most likely be.
 *
 * `parseInline` says up to where its result can no longer change (`safe`, and `stable` nodes): the caller keeps
 * those and next time parses only what follows. That makes a paragraph cost its length, not its square.
 */
import { Openers, REACH } from './openers.js';
import { angleOrEntity, bareUrl, codeNode, flanks, isPunctuation, lastCut } from './spans.js';
import { linkNode, linkTarget, maths, mathsNode, runLength } from './spans.js';

const SPECIAL = /[\\`*_~[\]!<&\n$]|https?:\/\//g;
const ESCAPED = /[!"#$%&'*+,\-./:;<=>?@\\^_`{|}~]/; // without brackets: \( and \[ open maths

/** @typedef {import('./spans.js').Inline} Inline */
/** @typedef {{ nodes: Inline[], safe: number, stable: number, used: number }} Parsed */

/**
 * @param {string} text
 * @param {boolean} final false while more may be appended
 * @param {string} [before] the character before `text`
 * @param {number} [used] of the run of marks that `text` begins with, how many closed something before it
 * @returns {Parsed}
 */
export function parseInline(text, final, before = '\n', used = 0) {
  return new Pass(text, final, before, used).run();
}

class Pass extends Openers {
  /** @type {Map<number | string, number>} backtick run length, or opener of maths → none closes before here */
  #unclosed = new Map();

  /** @param {string} text @param {boolean} final @param {string} before @param {number} usedBefore */
  constructor(text, final, before, usedBefore) {
    super();
    this.text = text;
    this.final = final;
    this.before = before;
    this.usedBefore = usedBefore;
  }

  run() {
    const { text } = this;
    let i = 0;
    while (i < text.length) {
      SPECIAL.lastIndex = i;
      const next = SPECIAL.exec(text)?.index ?? text.length;
      if (next > i) this.#plain(i, next);
      i = next < text.length ? this.#special(next) : next;
    }
    if (!this.final) this.hope(text, this.before);
    return { nodes: this.nodes, safe: this.safe, stable: this.stable, used: this.used };
  }

  /** Ordinary text; the only place where what came before is declared finished.
   * @param {number} from @param {number} to */
  #plain(from, to) {
    const cut = this.settleBefore(to) ? from : lastCut(this.text, from, to);
    if (cut > from) this.settle(cut, this.nodes.push(this.text.slice(from, cut)));
    if (to > cut) this.nodes.push(this.text.slice(cut, to));
  }

  /** Handles what begins at `i` and returns the position after it.
   * @param {number} i @returns {number} */
  #special(i) {
    const char = this.text[i];
    if (char === '\\') return this.#maths(i) || this.#escape(i);
    if (char === '$') return this.#maths(i) || this.put('$', i + 1);
    if (char === '`') return this.#code(i);
    if (char === '*' || char === '_' || char === '~') return this.#emphasis(i);
    if (char === '[') return this.#bracket(i, '[');
    if (char === '!') return this.text[i + 1] === '[' ? this.#bracket(i, '![') : this.put('!', i + 1);
    if (char === ']') return this.#closeBracket(i);
    if (char === '\n') return this.put({ tag: 'br', children: [] }, i + 1);
    if (char === 'h') return this.#url(i);
    return this.#angle(i);
  }

  /** @param {number} i */
  #escape(i) {
    const next = this.text[i + 1];
    if (next === '\n') return i + 1;
    return next && ESCAPED.test(next) ? this.put(next, i + 2) : this.put('\\', i + 1);
  }

  /** Maths, as it is written; 0 if none begins here. @param {number} i */
  #maths(i) {
    const opener = this.text.slice(i, i + 2);
    const found = maths(this.text, i, REACH, this.#unclosed.get(opener) ?? 0);
    if (!found) this.#unclosed.set(opener, i + REACH - 1); // a closer is at most two characters
    if (found === 'more' && !this.final) {
      this.hold(i);
      const known = opener === '$$' || opener[0] === '\\';
      return this.put(known ? mathsNode(this.text.slice(i + 2)) : this.text.slice(i), this.text.length);
    }
    return found && found !== 'more' ? this.put(found.node, found.next) : 0;
  }

  /** @param {number} i */
  #code(i) {
    const run = runLength(this.text, i);
    const close = this.#backticks(i + run, run);
    if (close >= 0) return this.put(codeNode(this.text.slice(i + run, close)), close + run);
    if (this.final || this.text.length > i + REACH + 2 * run) return this.put('`'.repeat(run), i + run);
    const rest = this.text.slice(i + run).replace(/`+$/, '');
    this.hold(i);
    return this.put(rest ? codeNode(rest) : '', this.text.length);
  }

  /** Where a run of exactly this many backticks closes, or -1. A search that failed is not made again.
   * @param {number} from @param {number} run */
  #backticks(from, run) {
    const end = Math.min(this.text.length, from + REACH);
    let at = Math.max(from, this.#unclosed.get(run) ?? 0);
    while ((at = this.text.indexOf('`', at)) >= 0 && at < end) {
      const found = runLength(this.text, at);
      if (found === run) return at;
      at += found;
    }
    this.#unclosed.set(run, Math.max(at, from));
    return -1;
  }

  /** A run of * _ or ~: closes what it can, and what is left over may open.
   * @param {number} i */
  #emphasis(i) {
    const mark = this.text[i];
    const whole = runLength(this.text, i);
    const end = i + whole;
    if (end === this.text.length && !this.final) return this.put('', end); // it may still get longer
    const prev = this.text[i - 1] ?? this.before;
    const next = this.text[end] ?? '\n';
    const left = flanks(prev, next);
    const right = flanks(next, prev);
    const strict = mark === '_'; // not inside of words
    const pairs = mark !== '~' || whole === 2;
    const opens = pairs && left && (!strict || !right || isPunctuation(prev));
    const closes = pairs && right && (!strict || !left || isPunctuation(next));
    let count = whole - (i ? 0 : this.usedBefore);
    for (let used = 1; closes && count && used; count -= used) used = this.pair(mark, count, whole, opens, i);
    if (opens && count) this.open(mark, i, { count, used: whole - count, whole, both: closes });
    return count ? this.put(mark.repeat(count), end) : end;
  }

  /** @param {number} i @param {string} mark */
  #bracket(i, mark) {
    this.open(mark, i);
    return this.put(mark, i + mark.length);
  }

  /** @param {number} i */
  #closeBracket(i) {
    const k = this.openers.findLastIndex((opener) => opener.mark.endsWith('['));
    if (k < 0 || i - this.openers[k].at > REACH) return this.put(']', i + 1);
    if (i + 1 === this.text.length && !this.final) return this.put(']', i + 1);
    const target = this.text[i + 1] === '(' ? linkTarget(this.text, i + 1, REACH) : null;
    if (target === 'more' && !this.final) return this.#comingLink(k);
    if (target && target !== 'more') return this.#link(k, target.href, target.next);
    this.openers.splice(k, 1);
    return this.put(']', i + 1);
  }

  /** @param {number} k @param {string} href @param {number} next */
  #link(k, href, next) {
    const children = this.since(k);
    // No link inside of a link: the brackets before are text now.
    this.openers = this.openers.filter((opener) => opener.mark !== '[');
    return this.put(linkNode(href, children), next);
  }

  /** The address is still coming: its text alone. @param {number} k */
  #comingLink(k) {
    const { at } = this.openers[k];
    const children = this.since(k);
    this.hold(at);
    return this.put({ tag: 'span', children }, this.text.length);
  }

  /** @param {number} i */
  #url(i) {
    const { url, ends } = bareUrl(this.text, i, REACH);
    if (/[A-Za-z0-9]/.test(this.text[i - 1] ?? this.before)) return this.put('h', i + 1);
    const grows = !this.final && ends === this.text.length; // another address with every character: not yet a link
    if (grows) this.hold(i);
    if (!url) return this.put('h', i + 1);
    return this.put(grows ? url : linkNode(url, [url]), i + url.length);
  }

  /** @param {number} i */
  #angle(i) {
    const found = angleOrEntity(this.text, i);
    if (found) return this.put(found.node, found.next);
    if (!this.final && this.text[i] === '<' && /^<[^\s<>]*$/.test(this.text.slice(i, i + REACH))) this.hold(i);
    return this.put(this.text[i], i + 1);
  }
}
