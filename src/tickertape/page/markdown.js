// @ts-check
/**
 * Markdown while it arrives: text in, a tree of blocks out. Pure; each line is read once.
 *
 * What a complete line means is settled when its line break comes. The unfinished line is applied too, so that it can
 * be seen, and taken back before the next piece: only the open blocks, the spine from the root to the last leaf,
 * can change, so taking back costs the depth. While an unfinished line is nothing but marks that may become a
 * list, a rule or a table's second row, it waits: nothing is shown that would have to turn into something else.
 *
 * After CommonMark 0.31, with task lists, strikethrough and tables (also with a delimiter too many, as small models
 * write them); a line break is kept as one, as chats do. Left out on purpose: HTML (it is text), indented code and
 * reference links (models do not write them). Containers nest to `DEEPEST`. What is inside of a leaf is read by
 * inline.js.
 */
import { Spine, block, toText } from './blocks.js';
import { cells, delimiters, line as of } from './lines.js';

/** @import { Block } from './blocks.js' */

/** Levels of quotes and lists; what is deeper stays text. */
export const DEEPEST = 24;

export class Markdown {
  #spine = new Spine();
  #line = ''; // the unfinished line
  /** @type {(() => void) | null} */ #takeBack = null;

  get root() {
    return this.#spine.root;
  }

  get tip() {
    return this.#spine.tip;
  }

  /** Append what came in. @param {string} text */
  append(text) {
    this.#restore();
    const lines = text.split('\n');
    lines[0] = this.#line + lines[0];
    this.#line = /** @type {string} */ (lines.pop());
    for (const line of lines) this.#read(line.endsWith('\r') ? line.slice(0, -1) : line);
    if (this.#line) this.#show();
  }

  /** Say that the text has come to its end: everything is done. */
  end() {
    this.#restore();
    if (this.#line) this.#read(this.#line);
    this.#line = '';
    this.#spine.closeLeaf();
    this.#spine.closeTo(0);
    this.root.done = true;
  }

  #restore() {
    this.#takeBack?.();
    this.#takeBack = null;
  }

  /** Apply the unfinished line for as long as it is unfinished. */
  #show() {
    this.#takeBack = this.#spine.save();
    this.#spine.settled = false;
    this.#read(this.#line);
    this.#spine.settled = true;
  }

  /** Read one line: first the containers that go on, then what opens here, then the text that is left.
   * @param {string} text */
  #read(text) {
    const { rest, matched } = this.#goOn(text);
    const { leaf, settled, depth } = this.#spine;
    const all = matched === depth;
    if (all && leaf?.type === 'code') return this.#codeLine(leaf, rest);
    if (!settled && of.undecided(rest)) return;
    if (all && leaf?.type === 'table' && this.#tableLine(leaf, rest)) return;
    if (all && leaf?.type === 'text' && settled && this.#underline(leaf, rest)) return;
    if (rest.trim() === '') return this.#blankLine(matched);
    // "Laziness": text goes on with a paragraph even where the marks of its containers are missing.
    const open = this.#spine.leaf;
    if (open?.type === 'text' && !of.opens(rest, all)) open.text += `\n${rest.trim()}`;
    else this.#open(rest, matched);
    this.#spine.blank = false;
  }

  /** "One by one": how many open containers this line continues, and what follows their marks.
   * @param {string} text */
  #goOn(text) {
    const { stack } = this.#spine;
    let rest = text;
    let matched = 1;
    for (; matched < stack.length; matched++) {
      const { type, level } = stack[matched];
      if (type === 'quote') {
        const inside = of.quote(rest);
        if (inside === null) break;
        rest = inside;
      } else if (type === 'item' && rest.trim() !== '') {
        if (of.indent(rest) < level) break;
        rest = of.dedent(rest, level);
      }
    }
    // A list goes on only in one of its items; whether a new one follows is seen later.
    if (stack[matched - 1].type === 'list') matched--;
    return { rest, matched };
  }

  /** A quote ends at a blank line; a list waits for what follows. @param {number} matched */
  #blankLine(matched) {
    const spine = this.#spine;
    spine.closeLeaf();
    const quote = spine.stack.findIndex((node, i) => i >= matched && node.type === 'quote');
    if (quote > 0) spine.closeTo(quote);
    spine.blank = true;
  }

  /** Open what begins on this line. @param {string} text @param {number} matched */
  #open(text, matched) {
    const spine = this.#spine;
    let rest = text;
    let depth = matched;
    while (depth < DEEPEST) {
      const paragraph = spine.leaf?.type === 'text' && depth === spine.depth;
      const found = of.container(rest, paragraph);
      if (!found) break;
      depth = found.type === 'quote' ? spine.push(block('quote'), depth) : this.#item(found, depth);
      rest = found.rest;
    }
    spine.closeLeaf();
    spine.closeTo(depth);
    if (rest.trim() !== '') spine.add(of.leaf(rest, spine.settled));
  }

  /** A list item: in the list that is open at this depth if it has the same mark, else in a new one.
   * @param {import('./lines.js').Container} found @param {number} depth */
  #item({ mark, start, level, info }, depth) {
    const spine = this.#spine;
    const list = spine.stack[depth];
    const same = list?.type === 'list' && list.mark === mark;
    if (same && spine.blank) list.loose = true;
    const inside = same ? depth + 1 : spine.push(block('list', { mark, start }), depth);
    return spine.push(block('item', { level, info }), inside);
  }

  /** @param {Block} code @param {string} text */
  #codeLine(code, text) {
    const { settled } = this.#spine;
    const closing = of.closes(text, code.mark);
    if (closing && code.info === 'maths') code.text += text.trimEnd().slice(0, -code.mark.length); // after its last line
    if (closing && settled) return this.#spine.closeLeaf();
    if (closing || (!settled && of.mayClose(text, code.mark))) return;
    code.text += of.dedent(text, code.level) + (settled ? '\n' : '');
  }

  /** The second line decides whether the first was a table's head; then every line is a row until one is not.
   * @param {Block} table @param {string} text @returns {boolean} whether the line is used up */
  #tableLine(table, text) {
    if (table.maybe) {
      const align = delimiters(text);
      const columns = cells(table.text).length;
      const fits = align !== null && align.length >= columns;
      table.children[0].done = this.#spine.settled;
      if (fits) Object.assign(table, { maybe: false, align: align.slice(0, columns), text: '' });
      else toText(table);
      return fits;
    }
    if (text.trim() === '' || of.opens(text, false)) return false;
    const row = cells(text).slice(0, table.align.length);
    while (row.length < table.align.length) row.push('');
    table.children.push(block('row', { cells: row, done: this.#spine.settled }));
    return true;
  }

  /** A line below a paragraph that makes it a heading, or the head of a table.
   * @param {Block} leaf @param {string} text @returns {boolean} */
  #underline(leaf, text) {
    const level = of.setext(text);
    if (level) {
      Object.assign(leaf, { type: 'heading', level });
      this.#spine.closeLeaf();
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
