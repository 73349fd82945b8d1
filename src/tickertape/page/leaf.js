// @ts-check
/** Text as elements: a paragraph, a heading, a cell of a table, while it grows. */
import { h } from './dom.js';
import { Growing } from './growing.js';

/** @import { Block } from './blocks.js' */
/** @import { Inline } from './spans.js' */

/** What is finished stays; the open end is made again. */
export class Leaf {
  #growing = new Growing();
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
  get tip() {
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
      this.#growing = new Growing();
      this.#stable = 0;
    }
    [this.#text, this.#final] = [text, final];
    const { finished, open } = this.#growing.update(text, final);
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
