// @ts-check
/**
 * What `inline.js` finds inside a paragraph, one function a thing. Pure; every search has a bound.
 */

/** @typedef {string | { tag: string, children: Inline[], href?: string }} Inline */

const BARE_URL = /https?:\/\/[^\s<>"'`*[\]{}|\\^]+/y;
const ANGLE = /<(https?:\/\/[^\s<>]*|mailto:[^\s<>]*|[\w.+-]+@[\w-]+(?:\.[\w-]+)+)>|<br ?\/?>/iy;
const ENTITY = /&(amp|lt|gt|quot|nbsp|#39);/y;
const ENTITIES = { amp: '&', lt: '<', gt: '>', quot: '"', nbsp: '\u00a0', '#39': "'" };
const SPACE = /\s/;
const PUNCTUATION = /[\p{P}\p{S}]/u;
const INSIDE_CHARACTER = /[\ud800-\udfff\p{M}\u200d\ufe0f]/u;

/** How often the character at `i` is repeated.
 * @param {string} text @param {number} i */
export function runLength(text, i) {
  let end = i + 1;
  while (text[end] === text[i]) end++;
  return end - i;
}

/** "A left-flanking delimiter run": no space follows, and no punctuation unless space or punctuation precedes.
 * @param {string} prev @param {string} next */
export function flanks(prev, next) {
  return !SPACE.test(next) && (!PUNCTUATION.test(next) || SPACE.test(prev) || PUNCTUATION.test(prev));
}

/** @param {string} char */
export const isPunctuation = (char) => PUNCTUATION.test(char);

/** Where ordinary text can be cut for good: after its last space; a very long word near its end.
 * @param {string} text @param {number} from @param {number} to @returns {number} `from` if nowhere */
export function lastCut(text, from, to) {
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
export function linkTarget(text, i, reach) {
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
export function bareUrl(text, i, reach) {
  BARE_URL.lastIndex = i;
  const found = BARE_URL.exec(text.slice(0, i + reach))?.[0] ?? '';
  let url = found.replace(/[.,;:!?_~]+$/, '');
  // A closing parenthesis belongs to the address only if it was opened in it.
  while (url.endsWith(')') && url.split('(').length < url.split(')').length) url = url.slice(0, -1);
  return { url: url.length > 8 ? url : '', ends: i + found.length };
}

/** `<https://…>`, `<someone@example.org>`, `<br>` or an entity.
 * @param {string} text @param {number} i @returns {{ node: Inline, next: number } | null} */
export function angleOrEntity(text, i) {
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

const CLOSERS = /** @type {{ [opener: string]: string }} */ ({ '\\(': '\\)', '\\[': '\\]', $$: '$$' });
const DOLLARS = /\$(?![\s\d])([^$\n]{1,120})\$(?!\d)/y;
const OPEN_DOLLAR = /\$(?![\s\d])[^$\n]{0,120}\$?$/y;
const FORMULA = /[\\^_{}=]|^[A-Za-z]$/;

/** The maths that begins at `i`, which is shown as it is written. "more": it may still be coming. Between single dollars
 * it must look like a formula: most dollars are prices.
 * @param {string} text @param {number} i @param {number} reach @param {number} none no closer stands before here @returns {{ node: Inline, next: number } | "more" | null} */
export function maths(text, i, reach, none) {
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
export const mathsNode = (text) => ({ tag: 'var', children: [text.trim().replaceAll('\n', ' ')] });

/** @param {string} text @returns {Inline} */
export function codeNode(text) {
  const padded = /^ .*\S.* $/s.test(text) ? text.slice(1, -1) : text;
  return { tag: 'code', children: [padded.replaceAll('\n', ' ')] };
}

/** Only http, https and mailto are links; any other address leaves its text.
 * @param {string} href @param {Inline[]} children @returns {Inline} */
export function linkNode(href, children) {
  return /^(https?:\/\/|mailto:)/i.test(href) ? { tag: 'a', href, children } : { tag: 'span', children };
}
