// @ts-check
/** A table as elements, while it grows: only its last row is looked at again. */
import { h } from './dom.js';
import { Leaf } from './leaf.js';

/** @import { Block } from './blocks.js' */

/** A row of a table: a growing leaf for each cell. */
class Row {
  /** @type {Leaf[]} */ #cells = [];
  type = /** @type {const} */ ('row');

  /** @param {boolean} head */
  constructor(head) {
    this.element = h('tr', null);
    this.head = head;
  }

  /** @returns {Element} */
  get tip() {
    return this.#cells.findLast(({ element }) => element.textContent)?.tip ?? this.element;
  }

  /** @param {Block} node @param {string[]} align */
  fill(node, align) {
    node.cells.forEach((text, i) => {
      const cell = (this.#cells[i] ??= new Leaf(h(this.head ? 'th' : 'td', null), 'row'));
      if (!cell.element.isConnected) this.element.append(cell.element);
      if (this.head) cell.element.setAttribute('scope', 'col');
      cell.element.dataset.align = align[i] ?? '';
      cell.set(text, node.done);
    });
    this.#cells.splice(node.cells.length).forEach(({ element }) => element.remove());
  }
}

export class Table {
  /** @type {Row[]} */ #rows = [];
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
  get tip() {
    return this.#rows.at(-1)?.tip ?? this.element;
  }

  /** @param {Block} node */
  update(node) {
    for (let i = this.#done; i < node.children.length; i++) {
      const row = (this.#rows[i] ??= new Row(i === 0));
      if (!row.element.isConnected) (i ? this.#body : this.#head).append(row.element);
      row.fill(node.children[i], node.align);
      if (node.children[i].done && i === this.#done) this.#done++;
    }
    this.#rows.splice(node.children.length).forEach(({ element }) => element.remove());
  }
}
