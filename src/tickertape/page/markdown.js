// @ts-check
/**
 * Markdown while it arrives: text in, a tree of blocks out. Pure; each line is read once.
 *
 * What a complete line means is final when its line break comes. The unfinished line is applied too, so that it can
 * be seen, and undone before the next piece: only the open blocks, from the root to the last leaf,
 * can change, so undoing it costs the depth. While an unfinished line is nothing but marks that may become a
 * list, a rule or a table's second row, it waits: nothing is shown that would have to turn into something else.
 *
 * After CommonMark 0.31, with task lists, strikethrough and tables (also with a delimiter too many, as small models
 * write them); a line break is kept as one, as chats do. Left out on purpose: HTML (it is text), indented code and
 * reference links (models do not write them). Containers nest to `DEEPEST`. The inside of a leaf is read by
 * inline.js.
 */

/**
 * `done` means that nothing of the block will ever change. A `text` only grows, unless the type changes.
 * @typedef {object} Block
 * @property {'root' | 'quote' | 'list' | 'item' | 'text' | 'heading' | 'code' | 'table' | 'row' | 'rule'} type
 * @property {Block[]} children
 * @property {string} text of a leaf; of a table its head while it may still turn out to be text
 * @property {boolean} done
 * @property {number} level of a heading; of an item the columns that its content is indented by
 * @property {string} mark of a list its bullet or delimiter; of code its fence
 * @property {string} info of code its language; of an item "x" or " " if it is a task
 * @property {number} start of an ordered list, else -1
 * @property {boolean} loose of a list: its items stand apart
 * @property {boolean} maybe a table whose second line has not come yet
 * @property {string[]} align of a table, a column each
 * @property {string[]} cells of a row
 */

/**
 * A container that a line opens, and what follows its mark.
 * @typedef {{ type: 'quote' | 'item', rest: string, mark: string, start: number, level: number, info: string }} Container
 */

/** Levels of quotes and lists; what is deeper stays text. */
export const DEEPEST = 24;

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

export class Markdown {
  #blocks = new OpenBlocks();
  #line = ''; // the unfinished line
  /** @type {(() => void) | null} */ #undo = null;

  get root() {
    return this.#blocks.root;
  }

  /** Append what came in. @param {string} text */
  append(text) {
    this.#restore();
    const lines = text.split('\n');
    lines[0] = this.#line + lines[0];
    this.#line = /** @type {string} */ (lines.pop());
    for (const one of lines) this.#read(one.endsWith('\r') ? one.slice(0, -1) : one);
    if (this.#line) this.#show();
  }

  /** Say that the text has come to its end: everything is done. */
  end() {
    this.#restore();
    if (this.#line) this.#read(this.#line);
    this.#line = '';
    this.#blocks.closeLeaf();
    this.#blocks.closeTo(0);
    this.root.done = true;
  }

  #restore() {
    this.#undo?.();
    this.#undo = null;
  }

  /** Apply the unfinished line for as long as it is unfinished. */
  #show() {
    this.#undo = this.#blocks.save();
    this.#blocks.final = false;
    this.#read(this.#line);
    this.#blocks.final = true;
  }

  /** Read one line: first the containers that go on, then what opens here, then the text that is left.
   * @param {string} text */
  #read(text) {
    const { rest, matched } = this.#continue(text);
    const { leaf, final, depth } = this.#blocks;
    const all = matched === depth;
    if (all && leaf?.type === 'code') return this.#codeLine(leaf, rest);
    if (!final && line.undecided(rest)) return;
    if (all && leaf?.type === 'table' && this.#tableLine(leaf, rest)) return;
    if (all && leaf?.type === 'text' && final && this.#underline(leaf, rest)) return;
    if (rest.trim() === '') return this.#blankLine(matched);
    // "Laziness": text goes on with a paragraph even where the marks of its containers are missing.
    const open = this.#blocks.leaf;
    if (open?.type === 'text' && !line.opens(rest, all)) open.text += `\n${rest.trim()}`;
    else this.#open(rest, matched);
    this.#blocks.blank = false;
  }

  /** "One by one": how many open containers this line continues, and what follows their marks.
   * @param {string} text */
  #continue(text) {
    const { stack } = this.#blocks;
    let rest = text;
    let matched = 1;
    for (; matched < stack.length; matched++) {
      const { type, level } = stack[matched];
      if (type === 'quote') {
        const inside = line.quote(rest);
        if (inside === null) break;
        rest = inside;
      } else if (type === 'item' && rest.trim() !== '') {
        if (line.indent(rest) < level) break;
        rest = line.dedent(rest, level);
      }
    }
    // A list goes on only in one of its items; whether a new one follows is seen later.
    if (stack[matched - 1].type === 'list') matched--;
    return { rest, matched };
  }

  /** A quote ends at a blank line; a list waits for what follows. @param {number} matched */
  #blankLine(matched) {
    const blocks = this.#blocks;
    blocks.closeLeaf();
    const quote = blocks.stack.findIndex((node, i) => i >= matched && node.type === 'quote');
    if (quote > 0) blocks.closeTo(quote);
    blocks.blank = true;
  }

  /** Open what begins on this line. @param {string} text @param {number} matched */
  #open(text, matched) {
    const blocks = this.#blocks;
    let rest = text;
    let depth = matched;
    while (depth < DEEPEST) {
      const paragraph = blocks.leaf?.type === 'text' && depth === blocks.depth;
      const found = line.container(rest, paragraph);
      if (!found) break;
      depth = found.type === 'quote' ? blocks.push(block('quote'), depth) : this.#item(found, depth);
      rest = found.rest;
    }
    blocks.closeLeaf();
    blocks.closeTo(depth);
    if (rest.trim() !== '') blocks.add(line.leaf(rest, blocks.final));
  }

  /** A list item: in the list that is open at this depth if it has the same mark, else in a new one.
   * @param {Container} found @param {number} depth */
  #item({ mark, start, level, info }, depth) {
    const blocks = this.#blocks;
    const list = blocks.stack[depth];
    const same = list?.type === 'list' && list.mark === mark;
    if (same && blocks.blank) list.loose = true;
    const inside = same ? depth + 1 : blocks.push(block('list', { mark, start }), depth);
    return blocks.push(block('item', { level, info }), inside);
  }

  /** @param {Block} code @param {string} text */
  #codeLine(code, text) {
    const { final } = this.#blocks;
    const closing = line.closes(text, code.mark);
    if (closing && code.info === 'maths') code.text += text.trimEnd().slice(0, -code.mark.length); // after its last line
    if (closing && final) return this.#blocks.closeLeaf();
    if (closing || (!final && line.mayClose(text, code.mark))) return;
    code.text += line.dedent(text, code.level) + (final ? '\n' : '');
  }

  /** The second line decides whether the first was a table's head; then every line is a row until one is not.
   * @param {Block} table @param {string} text @returns {boolean} whether the line is used up */
  #tableLine(table, text) {
    if (table.maybe) {
      const align = delimiters(text);
      const columns = cells(table.text).length;
      const fits = align !== null && align.length >= columns;
      table.children[0].done = this.#blocks.final;
      if (fits) Object.assign(table, { maybe: false, align: align.slice(0, columns), text: '' });
      else toText(table);
      return fits;
    }
    if (text.trim() === '' || line.opens(text, false)) return false;
    const row = cells(text).slice(0, table.align.length);
    while (row.length < table.align.length) row.push('');
    table.children.push(block('row', { cells: row, done: this.#blocks.final }));
    return true;
  }

  /** A line below a paragraph that makes it a heading, or the head of a table.
   * @param {Block} leaf @param {string} text @returns {boolean} */
  #underline(leaf, text) {
    const level = line.setext(text);
    if (level) {
      Object.assign(leaf, { type: 'heading', level });
      this.#blocks.closeLeaf();
      return true;
    }
    const align = leaf.text.includes('|') && !leaf.text.includes('\n') ? delimiters(text) : null;
    const head = align ? cells(leaf.text) : [];
    if (!align || align.length < head.length) return false;
    const columns = align.slice(0, head.length);
    Object.assign(leaf, {
      type: 'table',
      align: columns,
      text: '',
      children: [block('row', { cells: head, done: true })],
    });
    return true;
  }
}

/** Tabs of the indentation count four columns. @param {string} text */
function expand(text) {
  return /^ *\t/.test(text) ? text.replace(/^[ \t]+/, (lead) => lead.replaceAll('\t', '    ')) : text;
}

/** @param {string} fence */
const isMaths = (fence) => fence === '$$' || fence === '\\]';

/** What one line can open, close or divide; every pattern is anchored and linear. */
const line = {
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
function cells(text) {
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
function delimiters(text) {
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

const EMPTY = { text: '', done: false, level: 0, mark: '', info: '', start: -1, loose: false, maybe: false };

/** @param {Block['type']} type @param {Partial<Block>} [more] @returns {Block} */
function block(type, more) {
  return { type, children: [], align: [], cells: [], ...EMPTY, ...more };
}

/** The tree and its open blocks, from the root to the last leaf: all that a further line can change. */
class OpenBlocks {
  root = block('root');
  /** @type {Block[]} the open containers, the root first */ stack = [this.root];
  /** @type {Block | null} the open leaf */ leaf = null;
  /** The line before was blank. */
  blank = false;
  /** Whether changes are final; those of an unfinished line will be undone. */
  final = true;

  get depth() {
    return this.stack.length;
  }

  /** Remember the state; the function returned restores it. */
  save() {
    const { stack, leaf, blank } = this;
    this.stack = [...stack];
    const nodes = leaf ? [...stack, leaf] : stack;
    const copies = nodes.map((node) => ({ node, copy: { ...node }, count: node.children.length }));
    return () => {
      for (const { node, copy, count } of copies) {
        Object.assign(node, copy);
        node.children.length = count;
      }
      Object.assign(this, { stack, leaf, blank });
    };
  }

  /** Open a container where `depth` containers go on; returns the new depth.
   * @param {Block} node @param {number} depth */
  push(node, depth) {
    this.closeLeaf();
    this.closeTo(depth);
    this.#child(node);
    return this.stack.push(node);
  }

  /** @param {Block} leaf */
  add(leaf) {
    this.#child(leaf);
    this.leaf = leaf;
    if (leaf.type === 'heading' || leaf.type === 'rule') this.closeLeaf(); // over with its line
  }

  closeLeaf() {
    const { leaf } = this;
    this.leaf = null;
    if (!leaf || !this.final) return;
    if (leaf.maybe) toText(leaf);
    for (const row of leaf.children.slice(-1)) row.done = true;
    leaf.done = true;
  }

  /** @param {number} depth */
  closeTo(depth) {
    while (this.depth > Math.max(depth, 1)) {
      const node = /** @type {Block} */ (this.stack.pop());
      node.done ||= this.final;
    }
  }

  /** @param {Block} node */
  #child(node) {
    const parent = this.stack[this.depth - 1];
    // "A list is loose if any of its items directly contain two block-level elements with a blank line between them."
    if (this.blank && parent.type === 'item' && parent.children.length) this.stack[this.depth - 2].loose = true;
    parent.children.push(node);
    this.blank = false;
  }
}

/** What looked like a table's head is text. @param {Block} leaf */
function toText(leaf) {
  Object.assign(leaf, { type: 'text', maybe: false, children: [] });
}
