// @ts-check
/** What one line of Markdown can open, close or divide. Pure; every pattern is anchored and linear. */
import { block } from './blocks.js';

/**
 * A container that a line opens, and what follows its mark.
 * @typedef {{ type: 'quote' | 'item', rest: string, mark: string, start: number, level: number, info: string }} Container
 */

const QUOTE = /^ {0,3}> ?/;
const ITEM = /^( {0,3})([-*+]|\d{1,9}[.)])(?: {1,4}(?! )| |$)/;
const TASK = /^\[([ xX])\] /;
const RULE = /^ {0,3}(?:(?:\* *){3,}|(?:- *){3,}|(?:_ *){3,})$/;
const HEADING = /^ {0,3}(#{1,6})(?: +(.*))?$/;
const FENCE = /^( {0,3})(`{3,}|~{3,}) *([^`]*)$/;
/** Maths on lines of its own: shown as text, and kept from being read as lists and rules. */
const MATHS = /^ {0,3}(\$\$|\\\[)\s*$/;
const DELIMITER = /^ *:?-+:? *$/;
const UNDECIDED = /^\s*(?:[-*+_=#~`|:> ]*|\d{1,9}[.)]?\s*|[-*+] \[[ xX]?\]?)$/;
/** Longer rows stay text: a row is read again with every piece of it. */
const LONGEST_ROW = 4000;

/** Tabs of the indentation count four columns. @param {string} text */
function expand(text) {
  return /^ *\t/.test(text) ? text.replace(/^[ \t]+/, (lead) => lead.replaceAll('\t', '    ')) : text;
}

/** @param {string} fence */
const isMaths = (fence) => fence === '$$' || fence === '\\]';

export const line = {
  /** @param {string} text */
  indent: (text) => expand(text).search(/[^ ]|$/),

  /** Take away up to `count` columns of indentation. @param {string} text @param {number} count */
  dedent(text, count) {
    const spaces = expand(text);
    return spaces.slice(Math.min(count, spaces.search(/[^ ]|$/)));
  },

  /** What a quote's mark is followed by. @param {string} text @returns {string | null} */
  quote(text) {
    const match = QUOTE.exec(text);
    return match && text.slice(match[0].length);
  },

  /** The quote or list item that begins here.
   * @param {string} text @param {boolean} paragraph whether it would interrupt one @returns {Container | null} */
  container(text, paragraph) {
    const inside = line.quote(text);
    if (inside !== null) return { type: 'quote', rest: inside, mark: '>', start: -1, level: 0, info: '' };
    const match = RULE.test(text) ? null : ITEM.exec(expand(text));
    if (!match) return null;
    const [all, indent, mark] = match;
    const start = mark.length > 1 ? parseInt(mark, 10) : -1;
    let rest = expand(text).slice(all.length);
    const empty = rest.trim() === '';
    // "An empty list item cannot interrupt a paragraph", nor can a list that does not begin with 1.
    if (paragraph && (empty || start > 1 || start === 0)) return null;
    const task = TASK.exec(rest);
    if (task) rest = rest.slice(task[0].length);
    const level = empty ? indent.length + mark.length + 1 : all.length;
    return { type: 'item', rest, mark: mark.slice(-1), start, level, info: task ? task[1].toLowerCase() : '' };
  },

  /** The leaf that this line begins. @param {string} text @param {boolean} whole false if more of it may come */
  leaf(text, whole) {
    const fence = FENCE.exec(text);
    if (fence) return block('code', { mark: fence[2], info: fence[3].trim(), level: fence[1].length });
    const maths = whole ? MATHS.exec(text) : null;
    if (maths) return block('code', { mark: maths[1] === '$$' ? '$$' : '\\]', info: 'maths' });
    const heading = HEADING.exec(text);
    if (heading) {
      const words = (heading[2] ?? '').trim().replace(/(^| +)#+$/, '');
      return block('heading', { level: heading[1].length, text: words });
    }
    if (RULE.test(text)) return block('rule');
    const words = text.trim();
    const row = words.startsWith('|') && words.length < LONGEST_ROW ? cells(words) : [];
    if (row.length < (whole ? 2 : 1)) return block('text', { text: words });
    return block('table', { maybe: true, text: words, children: [block('row', { cells: row })] });
  },

  /** Whether anything but text begins here. @param {string} text @param {boolean} paragraph as for `container` */
  opens: (text, paragraph) =>
    Boolean(line.container(text, paragraph)) || FENCE.test(text) || MATHS.test(text) || HEADING.test(text) || RULE.test(text),

  /** Whether an unfinished line is nothing but marks that may still become several things. @param {string} text */
  undecided: (text) => text.length < 80 && UNDECIDED.test(text) && !FENCE.test(text),

  /** The level of the heading that this line makes of the paragraph above it, or 0. @param {string} text */
  setext: (text) => (/^ {0,3}=+\s*$/.test(text) ? 1 : /^ {0,3}-+\s*$/.test(text) ? 2 : 0),

  /** Whether the line closes a fence. @param {string} text @param {string} fence */
  closes: (text, fence) =>
    isMaths(fence) ? text.trimEnd().endsWith(fence) : line.mayClose(text, fence) && text.trim().length >= fence.length,

  /** Whether the line is the beginning of one that closes a fence. @param {string} text @param {string} fence */
  mayClose(text, fence) {
    const marks = text.trim();
    if (isMaths(fence)) return marks !== '' && fence.startsWith(marks);
    return marks !== '' && marks.length < 80 && line.indent(text) < 4 && marks === fence[0].repeat(marks.length);
  },
};

/** The cells of a table's row, without its outer pipes; `\|` is a pipe, and one in code is too.
 * @param {string} text @returns {string[]} */
export function cells(text) {
  const row = text.trim().slice(0, LONGEST_ROW).replace(/^\|/, '');
  /** @type {string[]} */ const found = [];
  let cell = '';
  let code = false;
  for (let i = 0; i < row.length; i++) {
    if (row[i] === '|' && !code) {
      found.push(cell.trim());
      cell = '';
      continue;
    }
    if (row[i] === '`') code = !code && row.includes('`', i + 1);
    cell += row[i] === '\\' && row[i + 1] === '|' ? row[++i] : row[i];
  }
  if (cell.trim() || !found.length) found.push(cell.trim());
  return found;
}

/** The alignments, if this is the line below a table's head. @param {string} text @returns {string[] | null} */
export function delimiters(text) {
  if (!/^[\s|:-]+$/.test(text) || !text.includes('-')) return null;
  const parts = cells(text);
  if (!parts.every((part) => DELIMITER.test(part)) || !text.includes('|')) return null;
  return parts.map((part) => ({ left: '', right: 'end', both: 'center' })[side(part)]);
}

/** @param {string} part */
function side(part) {
  if (!part.endsWith(':')) return 'left';
  return part.startsWith(':') ? 'both' : 'right';
}
