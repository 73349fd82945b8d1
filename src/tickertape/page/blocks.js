// @ts-check
/** The tree of blocks and its growing edge. Pure; `markdown.js` decides what goes into it. */

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

const EMPTY = { text: '', done: false, level: 0, mark: '', info: '', start: -1, loose: false, maybe: false };

/** @param {Block['type']} type @param {Partial<Block>} [more] @returns {Block} */
export function block(type, more) {
  return { type, children: [], align: [], cells: [], ...EMPTY, ...more };
}

/** The open blocks, from the root to the last leaf: all that a further line can change. */
export class Spine {
  root = block('root');
  /** @type {Block[]} the open containers, the root first */ stack = [this.root];
  /** @type {Block | null} the open leaf */ leaf = null;
  /** The line before was blank. */
  blank = false;
  /** What happens now is for good; otherwise it will be taken back. */
  settled = true;

  get depth() {
    return this.stack.length;
  }

  /** The block in which the next character will appear. */
  get tip() {
    const last = this.leaf ?? this.stack[this.depth - 1].children.at(-1) ?? this.root;
    return last.type === 'table' ? (last.children.at(-1) ?? last) : last;
  }

  /** Remember how things are; the function returned restores it. */
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
    if (!leaf || !this.settled) return;
    if (leaf.maybe) toText(leaf);
    for (const row of leaf.children.slice(-1)) row.done = true;
    leaf.done = true;
  }

  /** @param {number} depth */
  closeTo(depth) {
    while (this.depth > Math.max(depth, 1)) {
      const node = /** @type {Block} */ (this.stack.pop());
      node.done ||= this.settled;
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
export function toText(leaf) {
  Object.assign(leaf, { type: 'text', maybe: false, children: [] });
}
