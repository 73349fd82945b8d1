// @ts-check
/**
 * The inside of a paragraph: emphasis, code, links. Pure, and made for text that is still growing.
 *
 * One pass from left to right with a stack of openers, as CommonMark describes it, with two differences. An opener
 * reaches at most `REACH` characters, so that the unfinished end stays short whatever the model writes; and at
 * the growing end an opener without its closer is shown as what it will most likely be.
 *
 * `parseInline` returns up to where its result is final (`safe`, and `stable` nodes): `IncrementalInline` keeps
 * those and next time parses only what follows. That makes a paragraph cost its length, not its square.
 */

/** @typedef {string | { tag: string, children: Inline[], href?: string }} Inline */

/** @typedef {{ nodes: Inline[], safe: number, stable: number, used: number }} Parsed */
/**
 * A run that may be closed, of `whole` marks, of which `used` had closed others before and `count` are left.
 * @typedef {{ mark: string, at: number, node: number, count: number, used: number, whole: number, both: boolean }} Opener
 */

/** Characters between an opener and its closer. Signed links run to 1 500. */
const REACH = 2000;
/** Characters: how far an unclosed emphasis is shown as such before it is taken for a stray asterisk. */
const LONGEST_GUESS = 300;
/** The mark of an opener that stands for an unfinished construct: nothing from there on is final. */
const HELD = '';

const SPECIAL = /[\\`*_~[\]!<&\n$]|https?:\/\//g;
const ESCAPED = /[!"#$%&'*+,\-./:;<=>?@\\^_`{|}~]/; // without brackets: \( and \[ open maths

const BARE_URL = /https?:\/\/[^\s<>"'`*[\]{}|\\^]+/y;
const ANGLE = /<(https?:\/\/[^\s<>]*|mailto:[^\s<>]*|[\w.+-]+@[\w-]+(?:\.[\w-]+)+)>|<br ?\/?>/iy;
const ENTITY = /&(amp|lt|gt|quot|nbsp|#39);/y;
const ENTITIES = { amp: '&', lt: '<', gt: '>', quot: '"', nbsp: '\u00a0', '#39': "'" };
const SPACE = /\s/;
const PUNCTUATION = /[\p{P}\p{S}]/u;
const INSIDE_CHARACTER = /[\ud800-\udfff\p{M}\u200d\ufe0f]/u;

const CLOSERS = /** @type {{ [opener: string]: string }} */ ({ '\\(': '\\)', '\\[': '\\]', $$: '$$' });
const DOLLARS = /\$(?![\s\d])([^$\n]{1,120})\$(?!\d)/y;
const OPEN_DOLLAR = /\$(?![\s\d])[^$\n]{0,120}\$?$/y;
const FORMULA = /[\\^_{}=]|^[A-Za-z]$/;

/** The inside of a paragraph that grows: what is finished is returned once, only the rest is parsed again. */
export class IncrementalInline {
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

/**
 * @param {string} text
 * @param {boolean} final false while more may be appended
 * @param {string} [before] the character before `text`
 * @param {number} [used] of the run of marks that `text` begins with, how many closed something before it
 * @returns {Parsed}
 */
export function parseInline(text, final, before = '\n', used = 0) {
  return new InlineParser(text, final, before, used).run();
}

/** The nodes so far, and the delimiters that wait for their closers. */
class DelimiterStack {
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
  finish(safe, stable, used = 0) {
    if (safe > this.safe) [this.safe, this.stable, this.used] = [safe, stable, used];
  }

  /** Finish what is before the oldest opener within reach; false if there is none. @param {number} at */
  finishBefore(at) {
    while (this.openers.length && at - this.openers[0].at > REACH) this.openers.shift();
    if (!this.openers.length) return false;
    const { at: safe, node, used } = this.openers[0];
    this.finish(safe, node, used);
    return true;
  }

  /** Nothing from `at` on is final. @param {number} at */
  hold(at) {
    if (!this.openers.length) this.finish(at, this.nodes.length);
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
  guess(text, before) {
    const line = text.lastIndexOf('\n') + 1;
    for (let k = this.openers.length - 1; k >= 0; k--) {
      const { mark, count, at, node } = this.openers[k];
      const inWord = /[\p{L}\p{N}]/u.test(text[at - 1] ?? before);
      if (!count || at < line || text.length - at > LONGEST_GUESS || inWord) continue;
      const children = this.nodes.splice(node + 1);
      this.nodes[node] = { tag: mark === '~' ? 'del' : count === 2 ? 'strong' : 'em', children };
    }
  }
}

class InlineParser extends DelimiterStack {
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
    if (!this.final) this.guess(text, this.before);
    return { nodes: this.nodes, safe: this.safe, stable: this.stable, used: this.used };
  }

  /** Ordinary text; the only place where what came before is declared finished.
   * @param {number} from @param {number} to */
  #plain(from, to) {
    const cut = this.finishBefore(to) ? from : lastCut(this.text, from, to);
    if (cut > from) this.finish(cut, this.nodes.push(this.text.slice(from, cut)));
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

/** How often the character at `i` is repeated.
 * @param {string} text @param {number} i */
function runLength(text, i) {
  let end = i + 1;
  while (text[end] === text[i]) end++;
  return end - i;
}

/** "A left-flanking delimiter run": no space follows, and no punctuation unless space or punctuation precedes.
 * @param {string} prev @param {string} next */
function flanks(prev, next) {
  return !SPACE.test(next) && (!PUNCTUATION.test(next) || SPACE.test(prev) || PUNCTUATION.test(prev));
}

/** @param {string} char */
const isPunctuation = (char) => PUNCTUATION.test(char);

/** Where ordinary text can be cut for good: after its last space; a very long word near its end.
 * @param {string} text @param {number} from @param {number} to @returns {number} `from` if nowhere */
function lastCut(text, from, to) {
  let cut = to;
  while (cut > from && !SPACE.test(text[cut - 1])) cut--;
  if (cut > from || to - from <= 256) return cut;
  cut = to - 16; // the last letters may become the "https" of a link
  while (cut > from && INSIDE_CHARACTER.test(text[cut - 1] + text[cut])) cut--;
  return cut;
}

/** The destination of a link, from its opening parenthesis. "more": it may still be coming.
 * @param {string} text @param {number} i @param {number} reach
 * @returns {{ href: string, next: number } | "more" | null} */
function linkTarget(text, i, reach) {
  const end = Math.min(text.length, i + reach);
  const open = end === text.length ? 'more' : null;
  let depth = 0;
  let at = i + 1;
  for (; at < end; at++) {
    const char = text[at];
    if (SPACE.test(char) || (char === ')' && !depth)) break;
    depth += char === '(' ? 1 : char === ')' ? -1 : 0;
  }
  const href = text.slice(i + 1, at).replace(/^<(.*)>$/, '$1');
  while (at < end && text[at] === ' ') at++;
  if (text[at] === '"' && at < end) {
    at = text.indexOf('"', at + 1) + 1;
    if (!at || at > end) return open;
    while (at < end && text[at] === ' ') at++;
  }
  if (at >= end) return open;
  return text[at] === ')' ? { href, next: at + 1 } : null;
}

/** The bare address that begins at `i`, without the sentence's punctuation after it.
 * @param {string} text @param {number} i @param {number} reach */
function bareUrl(text, i, reach) {
  BARE_URL.lastIndex = i;
  const found = BARE_URL.exec(text.slice(0, i + reach))?.[0] ?? '';
  let url = found.replace(/[.,;:!?_~]+$/, '');
  // A closing parenthesis belongs to the address only if it was opened in it.
  while (url.endsWith(')') && url.split('(').length < url.split(')').length) url = url.slice(0, -1);
  return { url: url.length > 8 ? url : '', ends: i + found.length };
}

/** `<https://…>`, `<someone@example.org>`, `<br>` or an entity.
 * @param {string} text @param {number} i @returns {{ node: Inline, next: number } | null} */
function angleOrEntity(text, i) {
  ANGLE.lastIndex = ENTITY.lastIndex = i;
  const angle = text[i] === '<' ? ANGLE.exec(text) : null;
  const entity = text[i] === '&' ? ENTITY.exec(text) : null;
  if (entity) {
    return { node: ENTITIES[/** @type {keyof ENTITIES} */ (entity[1])], next: i + entity[0].length };
  }
  if (!angle) return null;
  const href = angle[1]?.includes(':') ? angle[1] : `mailto:${angle[1]}`;
  return { node: angle[1] ? linkNode(href, [angle[1]]) : { tag: 'br', children: [] }, next: i + angle[0].length };
}

/** The maths that begins at `i`, which is shown as it is written. "more": it may still be coming. Between single dollars
 * it must look like a formula: most dollars are prices.
 * @param {string} text @param {number} i @param {number} reach @param {number} none no closer stands before here @returns {{ node: Inline, next: number } | "more" | null} */
function maths(text, i, reach, none) {
  const close = CLOSERS[text.slice(i, i + 2)];
  if (close) {
    const end = text.slice(0, i + reach).indexOf(close, Math.max(i + 3, none));
    if (end >= 0) return { node: mathsNode(text.slice(i + 2, end)), next: end + 2 };
    return text.length < i + reach ? 'more' : null;
  }
  DOLLARS.lastIndex = OPEN_DOLLAR.lastIndex = i;
  const inside = DOLLARS.exec(text)?.[1] ?? '';
  if (FORMULA.test(inside) && !inside.endsWith(' ')) return { node: mathsNode(inside), next: i + inside.length + 2 };
  return text[i] === '$' && OPEN_DOLLAR.test(text) ? 'more' : null;
}

/** @param {string} text @returns {Inline} */
const mathsNode = (text) => ({ tag: 'var', children: [text.trim().replaceAll('\n', ' ')] });

/** @param {string} text @returns {Inline} */
function codeNode(text) {
  const padded = /^ .*\S.* $/s.test(text) ? text.slice(1, -1) : text;
  return { tag: 'code', children: [padded.replaceAll('\n', ' ')] };
}

/** Only http, https and mailto are links; any other address leaves its text.
 * @param {string} href @param {Inline[]} children @returns {Inline} */
function linkNode(href, children) {
  return /^(https?:\/\/|mailto:)/i.test(href) ? { tag: 'a', href, children } : { tag: 'span', children };
}
