// @ts-check
/**
 * The tree of blocks as elements. A block that is done is visited for the last time; after that only the growing end is.
 * Model output enters as text nodes; links lead to http, https and mailto (inline.js ensures that).
 */
import { CodeView } from './code-block.js';
import { h } from './dom.js';
import { IncrementalInline } from './inline.js';
import { Markdown } from './markdown.js';

/** @import { Inline } from './inline.js' */
/** @import { Block } from './markdown.js' */

/** A piece of Markdown on the page, while it arrives. */
export class MarkdownView {
  #markdown = new Markdown();
  #root;
  /** @type {Element | null} where the caret stands */ #caret = null;

  /** @param {HTMLElement} element */
  constructor(element) {
    this.element = element;
    this.#root = new ContainerView(element);
  }

  /** @param {string} text */
  append(text) {
    this.#markdown.append(text);
    this.#root.update(this.#markdown.root);
    this.#mark(this.#root.caret);
  }

  end() {
    this.#markdown.end();
    this.#root.update(this.#markdown.root);
    this.#mark(null);
  }

  /** @param {Element | null} caret */
  #mark(caret) {
    if (caret === this.#caret) return;
    this.#caret?.classList.remove('caret');
    caret?.classList.add('caret');
    this.#caret = caret;
  }
}

/** @typedef {{ element: HTMLElement, type: Block['type'], caret: Element, update: (node: Block) => void }} View */

/** A block that holds blocks. */
class ContainerView {
  /** @type {View[]} */ #views = [];
  #done = 0;

  /** @param {HTMLElement} element @param {Block['type']} [type] */
  constructor(element, type = 'root') {
    this.element = element;
    this.type = type;
    this.inside = element;
  }

  /** @returns {Element} */
  get caret() {
    return this.#views.at(-1)?.caret ?? this.inside;
  }

  /** @param {Block} node */
  update(node) {
    if (node.type === 'list') this.element.classList.toggle('loose', node.loose);
    for (let i = this.#done; i < node.children.length; i++) {
      const child = node.children[i];
      if (this.#views[i]?.type !== child.type) this.#put(i, viewOf(child));
      this.#views[i].update(child);
      if (child.done && i === this.#done) this.#done++;
    }
    while (this.#views.length > node.children.length) this.#views.pop()?.element.remove();
  }

  /** @param {number} i @param {View} view */
  #put(i, view) {
    if (this.#views[i]) this.#views[i].element.replaceWith(view.element);
    else this.inside.append(view.element);
    this.#views[i] = view;
  }
}

/** @param {Block} node @returns {View} */
function viewOf(node) {
  switch (node.type) {
    case 'quote':
      return new ContainerView(h('blockquote', null), 'quote');
    case 'list':
      return new ContainerView(node.start < 0 ? h('ul', null) : h('ol', { start: node.start }), 'list');
    case 'item':
      return item(node);
    case 'table':
      return new TableView();
    case 'code':
      return new CodeView();
    case 'rule':
      return new TextBlock(h('hr', null), 'rule');
    case 'heading':
      // The page's own heading is the first level.
      return new TextBlock(
        h(/** @type {'h2'} */ (`h${Math.min(node.level + 1, 6)}`), { className: `h${node.level}` }),
        'heading',
      );
    default:
      return new TextBlock(h('p', null), 'text');
  }
}

/** @param {Block} node */
function item(node) {
  if (!node.info) return new ContainerView(h('li', null), 'item');
  const box = h('input', {
    type: 'checkbox',
    disabled: true,
    checked: node.info === 'x',
    'aria-label': node.info === 'x' ? 'done' : 'open',
  });
  return new ContainerView(h('li', { className: 'task' }, box), 'item');
}

/** A row of a table, with a text block for each cell. */
class RowView {
  /** @type {TextBlock[]} */ #cells = [];
  type = /** @type {const} */ ('row');

  /** @param {boolean} head */
  constructor(head) {
    this.element = h('tr', null);
    this.head = head;
  }

  /** @returns {Element} */
  get caret() {
    return this.#cells.findLast(({ element }) => element.textContent)?.caret ?? this.element;
  }

  /** @param {Block} node @param {string[]} align */
  fill(node, align) {
    node.cells.forEach((text, i) => {
      const cell = (this.#cells[i] ??= new TextBlock(h(this.head ? 'th' : 'td', null), 'row'));
      if (!cell.element.isConnected) this.element.append(cell.element);
      if (this.head) cell.element.setAttribute('scope', 'col');
      cell.element.dataset.align = align[i] ?? '';
      cell.set(text, node.done);
    });
    this.#cells.splice(node.cells.length).forEach(({ element }) => element.remove());
  }
}

/** A table while it grows: only its last row is looked at again. */
class TableView {
  /** @type {RowView[]} */ #rows = [];
  #done = 0;
  type = /** @type {const} */ ('table');
  #head = h('thead', null);
  #body = h('tbody', null);
  // Wide tables scroll by themselves, also with the keyboard.
  element = h(
    'div',
    { className: 'table', tabIndex: 0, role: 'group', 'aria-label': 'Table' },
    h('table', null, this.#head, this.#body),
  );

  /** @returns {Element} */
  get caret() {
    return this.#rows.at(-1)?.caret ?? this.element;
  }

  /** @param {Block} node */
  update(node) {
    for (let i = this.#done; i < node.children.length; i++) {
      const row = (this.#rows[i] ??= new RowView(i === 0));
      if (!row.element.isConnected) (i ? this.#body : this.#head).append(row.element);
      row.fill(node.children[i], node.align);
      if (node.children[i].done && i === this.#done) this.#done++;
    }
    this.#rows.splice(node.children.length).forEach(({ element }) => element.remove());
  }
}

/**
 * Text as elements: a paragraph, a heading, a cell of a table, while it grows. What is finished stays; the open end is
 * made again.
 */
class TextBlock {
  #inline = new IncrementalInline();
  #text = '';
  #final = false;
  #stable = 0; // how many child nodes are finished

  /** @param {HTMLElement} element @param {Block['type']} type */
  constructor(element, type) {
    this.element = element;
    this.type = type;
    element.dir = 'auto';
  }

  /** @returns {Element} */
  get caret() {
    return this.element;
  }

  /** @param {Block} node */
  update(node) {
    this.set(node.text, node.done);
  }

  /** @param {string} text @param {boolean} final */
  set(text, final) {
    if (text === this.#text && final === this.#final) return;
    if (text.length < this.#text.length) {
      this.#inline = new IncrementalInline();
      this.#stable = 0;
    }
    [this.#text, this.#final] = [text, final];
    const { finished, open } = this.#inline.update(text, final);
    while (this.element.childNodes.length > this.#stable) this.element.lastChild?.remove();
    append(this.element, finished);
    this.#stable = this.element.childNodes.length;
    if (open.length) append(this.element, open, true);
  }
}

/** @param {HTMLElement} parent @param {Inline[]} nodes @param {boolean} [apart] do not merge with the text before */
function append(parent, nodes, apart = false) {
  let fresh = apart;
  for (const node of nodes) {
    if (typeof node === 'string') {
      if (!node) continue;
      if (!fresh && parent.lastChild instanceof Text) parent.lastChild.appendData(node);
      else parent.append(node);
      fresh = false;
    } else {
      parent.append(elementOf(node));
    }
  }
}

/** @param {Exclude<Inline, string>} node */
function elementOf({ tag, href, children }) {
  const link = tag === 'a' ? { href, target: '_blank', rel: 'noopener noreferrer nofollow' } : null;
  const element = h(/** @type {'span'} */ (tag), link);
  append(element, children);
  return element;
}
