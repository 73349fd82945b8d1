// @ts-check
/**
 * The tree of blocks as elements. What is done is visited for the last time; after that only the growing edge is.
 * Model output enters as text nodes; links lead to http, https and mailto (spans.js sees to that).
 */
import { CodeView } from './code.js';
import { h } from './dom.js';
import { Leaf } from './leaf.js';
import { Markdown } from './markdown.js';
import { Table } from './table.js';

/** @import { Block } from './blocks.js' */

/** A piece of Markdown on the page, while it arrives. */
export class MarkdownView {
  #markdown = new Markdown();
  #root;
  /** @type {Element | null} where the caret stands */ #tip = null;

  /** @param {HTMLElement} element */
  constructor(element) {
    this.element = element;
    this.#root = new Container(element);
  }

  /** @param {string} text */
  append(text) {
    this.#markdown.append(text);
    this.#root.update(this.#markdown.root);
    this.#mark(this.#root.tip);
  }

  end() {
    this.#markdown.end();
    this.#root.update(this.#markdown.root);
    this.#mark(null);
  }

  /** @param {Element | null} tip */
  #mark(tip) {
    if (tip === this.#tip) return;
    this.#tip?.classList.remove('tip');
    tip?.classList.add('tip');
    this.#tip = tip;
  }
}

/** @typedef {{ element: HTMLElement, type: Block['type'], tip: Element, update: (node: Block) => void }} View */

/** A block that holds blocks. */
class Container {
  /** @type {View[]} */ #views = [];
  #done = 0;

  /** @param {HTMLElement} element @param {Block['type']} [type] */
  constructor(element, type = 'root') {
    this.element = element;
    this.type = type;
    this.inside = element;
  }

  /** @returns {Element} */
  get tip() {
    return this.#views.at(-1)?.tip ?? this.inside;
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
      return new Container(h('blockquote', null), 'quote');
    case 'list':
      return new Container(node.start < 0 ? h('ul', null) : h('ol', { start: node.start }), 'list');
    case 'item':
      return item(node);
    case 'table':
      return new Table();
    case 'code':
      return new CodeView();
    case 'rule':
      return new Leaf(h('hr', null), 'rule');
    case 'heading':
      // The page's own heading is the first level.
      return new Leaf(
        h(/** @type {'h2'} */ (`h${Math.min(node.level + 1, 6)}`), { className: `h${node.level}` }),
        'heading',
      );
    default:
      return new Leaf(h('p', null), 'text');
  }
}

/** @param {Block} node */
function item(node) {
  if (!node.info) return new Container(h('li', null), 'item');
  const box = h('input', {
    type: 'checkbox',
    disabled: true,
    checked: node.info === 'x',
    'aria-label': node.info === 'x' ? 'done' : 'open',
  });
  const view = new Container(h('li', { className: 'task' }, box), 'item');
  return view;
}
